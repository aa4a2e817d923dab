"""Where does the time go inside? The room that hooks vLLM's processes and writes down what they did.

It owns the hooks that each vLLM process loads and the readers of what they write; it is free when off.
"""

from enginescope_plugin import end_at_interrupt, refuse_strangers

end_at_interrupt(__name__)
refuse_strangers("probes")
