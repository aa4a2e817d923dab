"""vLLM's own server: started, checked from outside, stopped whole."""
