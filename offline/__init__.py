"""How fast is it, under which setting? The room that drives `vllm.LLM` directly, without a server in the way.

It owns the sweep: spec, engine, records and tables, by the rules of honest measurement.
"""

from enginescope_plugin import end_at_interrupt, refuse_strangers

end_at_interrupt(__name__)
refuse_strangers("probes", "tracing")
