"""The engine: the adapter to vLLM, and the process that holds one."""
