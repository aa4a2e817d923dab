"""How far a figure can be trusted: intervals and quantiles, for all rooms."""
