"""vLLM's source as text: where a function stands, and its lines. Nothing of vLLM is imported."""
