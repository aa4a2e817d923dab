"""What the steps' batches were: how large, what they left waiting, which CUDA graph ran them, and their KV blocks."""
