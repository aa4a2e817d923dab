"""Nsight Systems: a command under it, and what its report says."""
