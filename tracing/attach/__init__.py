"""`python -m tracing.attach`: records an engine that is already running, or what its rings still hold of it."""
