"""What the log of any vLLM server tells: its start, what ran, and why it ended."""
