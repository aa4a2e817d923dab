"""The tables of a review, a module a subject: their rows, for the terminal and for the page."""
