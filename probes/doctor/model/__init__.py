"""The doctor's questions about one model: is it here, does it fit, on which cards, and how does it attend?"""
