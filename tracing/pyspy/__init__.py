"""py-spy's samples on the clock of the spans."""
