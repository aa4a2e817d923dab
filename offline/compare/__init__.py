"""Comparison of runs that were measured at different times, with starts as the replicates."""
