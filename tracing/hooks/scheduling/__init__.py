"""What of the scheduler a step is recorded with: what it ran, whom it held back, which cached blocks it gave up."""
