"""`python -m tracing.top`: what an engine is doing now, renewed every second."""
