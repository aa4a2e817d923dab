"""What is there, and does it answer? The room that looks at a machine, a model or a running server from outside.

It owns the machine fingerprint and the default model, and is the floor that the other rooms stand on.
"""

from enginescope_plugin import end_at_interrupt

end_at_interrupt(__name__)
