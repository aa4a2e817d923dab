"""The map of the engine: the functions that are hooked, and their check against a source tree."""
