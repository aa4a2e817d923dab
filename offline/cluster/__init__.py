"""Several places for the starts of a run, cards of a machine or nodes of a Ray cluster, each with one at a time."""
