"""Real engines in the shapes that users run: async scheduling, one GPU's processes, several workers, cores or front
ends, Model Runner V2, a pretend device. The tests and `python -m tracing.demo --shape NAME` start them from here."""
