"""What an engine's memory is made of."""
