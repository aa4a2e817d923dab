"""What watching costs, measured on this machine."""
