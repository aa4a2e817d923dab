"""What a running server did in a window of time, from its `/metrics`."""
