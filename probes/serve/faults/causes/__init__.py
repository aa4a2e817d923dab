"""The table of causes, one module a field: what a log says, what it means, what to do."""
