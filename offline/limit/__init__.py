"""The floor that the hardware sets to a step, by arithmetic on the model's configuration and measured rates."""
