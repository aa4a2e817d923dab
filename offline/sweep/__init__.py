"""The sweep: prepared, run, shown."""
