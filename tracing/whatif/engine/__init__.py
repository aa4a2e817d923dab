"""The engine that is measured: how it is started or found, what loads it, and how it is asked for delays."""
