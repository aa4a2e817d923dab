"""All that runs inside vLLM's processes: it patches functions and writes events; it imports nothing that reads."""
