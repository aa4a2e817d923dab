"""Every metric that vLLM has had, version by version, read out of its source and kept in a table of our own."""
