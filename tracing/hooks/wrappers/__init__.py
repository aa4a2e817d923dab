"""The wrappers that stand in the places of vLLM's functions: each calls the original and writes a span of it."""
