"""Why is it so? The room for walkthroughs of vLLM's code, bound to its source and to a recorded trace.

It owns the text (`walkthrough/`), its anchors and claims, and the measured values that it quotes.
"""

from enginescope_plugin import end_at_interrupt, refuse_strangers

end_at_interrupt(__name__)
refuse_strangers("probes", "tracing")
