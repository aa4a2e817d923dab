"""What a step gives to the device: its launches, and when each began and ended there."""
