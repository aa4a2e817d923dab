"""Prompts out of the files that people keep them in; one reader for all commands that send or run prompts."""
