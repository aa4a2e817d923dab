"""Processes of ours: started in groups of their own, asked, frozen, thawed, and ended whole."""
