"""The engine of a shape: its model, what some shapes need beside it, and what is asked of it."""
