"""What texts that other people read keep out: secrets, and the name of the user."""
