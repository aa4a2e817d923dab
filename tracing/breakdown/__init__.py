"""Where the time went: budgets, waits, hops, slow ones, and all findings of a trace."""
