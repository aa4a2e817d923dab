"""A fixed kernel of some 30 ms, timed beside every trial: it tells the machine's own drift from the engine's speed.

It runs on the CPU; `devicekernel` has the one that runs on a GPU.
"""

from __future__ import annotations

import functools
import time

import numpy as np

COMPUTE_ROUNDS = 240
COPY_ROUNDS = 16
COUNT = 5  # timings that tell a machine's speed: a fifth of a second


@functools.cache
def _buffers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    small = np.linspace(0.1, 1.0, 1 << 15, dtype=np.float32)  # 128 KiB: stays in the core's own cache
    source = np.ones(4 << 20, dtype=np.float32)  # 16 MiB: goes through memory
    np.exp(np.sqrt(small))  # the first use of a function or a page costs more than all later ones
    return small, source, source.copy()


def time_kernel() -> int:
    """Run the kernel once; nanoseconds. Elementwise only, so that no thread pool and no library choice enters."""
    small, source, target = _buffers()
    start = time.monotonic_ns()
    for _ in range(COMPUTE_ROUNDS):
        np.exp(np.sqrt(small))
    for _ in range(COPY_ROUNDS):
        np.copyto(target, source)
    return time.monotonic_ns() - start


def time_kernels(count: int = COUNT) -> list[int]:
    """Run the kernel some times; nanoseconds of each."""
    return [time_kernel() for _ in range(count)]
