"""The doctor: whether this machine and environment can run and profile vLLM, and what to do where not."""
