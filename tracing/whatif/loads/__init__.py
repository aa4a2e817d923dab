"""The loads under which an engine is measured: which one it is, what can be planned for it, and what it answers."""
