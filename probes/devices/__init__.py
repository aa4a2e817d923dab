"""Accelerators as their drivers describe them: the one reader of devices for all rooms."""
