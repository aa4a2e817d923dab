"""From trials to differences that can be told: two strata, starts as replicates, intervals that hold together."""
