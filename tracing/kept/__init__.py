"""`python -m tracing.kept`: what triggers kept of an engine's rings, each with its likely reason."""
