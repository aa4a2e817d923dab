"""Claims: what a stop's sentences say of the code, one a line, and whether a tree of vLLM bears them out."""
