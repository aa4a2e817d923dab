"""What the steps of an engine are made of: their phases, their kinds, and the workers that ran them."""
