"""The study plan: its texts, exercises, and the judge of answers."""
