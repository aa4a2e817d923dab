"""How many cached tokens a cell must have, by arithmetic."""
