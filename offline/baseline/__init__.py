"""vLLM against transformers on plain PyTorch, offline: the same batches through both, with their memory beside."""
