"""Where the time of recorded trials went: a budget a cell, and what of it grew from one arm to another."""
