"""Many prompts through a running server, a record for each on disk."""
