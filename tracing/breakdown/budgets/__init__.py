"""Where the time of all requests went, worked out for all of them at once."""
