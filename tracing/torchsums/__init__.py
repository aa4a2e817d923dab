"""Operators and kernels of torch profiler traces, summed by stage and step."""
