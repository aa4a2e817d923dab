"""Who waits for whom in an engine that hangs: its dumps, read or taken, and the chain down to the cause."""
