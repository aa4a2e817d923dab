"""What came of a batch, from its records."""
