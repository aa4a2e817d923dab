"""What a run under load says: figures from raw requests, whether a rate is sustained, the knee, and its page."""
