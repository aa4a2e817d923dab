"""What people paste: dumps of py-spy and faulthandler, and the lines of vLLM's log between them."""
