"""A running engine, looked at twice: its stacks, what /proc and /metrics say of it, and what a recorder has written."""
