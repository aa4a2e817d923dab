"""Whether a model loads and generates here: vLLM's `LLM` in a child process, one line of text, no server."""
