"""The answer as it is shown: on a terminal, as JSON, and as a page."""
