"""The event files: their layout, their reader, and what each process said of itself."""
