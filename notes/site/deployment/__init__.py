"""The deployment that a reader has chosen: its processes, its recorded request, and what a stop is in it."""
