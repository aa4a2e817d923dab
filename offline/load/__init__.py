"""Open-loop traffic on an engine: the schedule, its sender, the variants' serving processes, and the run on disk."""
