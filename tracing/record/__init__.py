"""`python -m tracing.record`: runs any command that uses vLLM with every vLLM process of it watched."""
