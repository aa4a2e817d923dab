"""What is asked of a running server, and what its answers must hold."""
