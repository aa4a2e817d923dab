"""The pretend device: an in-order queue as a clock, the work of each step on it, and the truth of what it did."""
