"""Programs that use vLLM and know nothing of this toolkit: what a user would run under `tracing.record`."""
