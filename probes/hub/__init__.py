"""The hubs that models come from: how this environment sets them, what of a model is here, and how to get the rest."""
