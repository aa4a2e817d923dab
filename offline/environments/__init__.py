"""Environments that engines run in: other interpreters, other checkouts of vLLM, and versions built in the cache."""
