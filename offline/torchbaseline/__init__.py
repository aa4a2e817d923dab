"""transformers on plain PyTorch, in static batches or its own continuous batching, behind a variant's interface."""
