"""The core of a stand-in engine whose steps work on a GPU: products of matrices for about so long."""

from __future__ import annotations

import time
from typing import Any

from tests.tracing.whatif.standinengine import run_steps

TRIED = 200  # products that tell how long one takes


def core(folder: str, host_ns: int, device_ns: int) -> None:
    """Steps, as the pretend device's stand-in has them."""
    import torch

    a, b = (torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(a)

    def multiply(count: int) -> Any:
        for _ in range(count):
            torch.mm(a, b, out=out)
        end = torch.cuda.Event()
        end.record()
        return end

    multiply(TRIED).synchronize()  # the clock comes up
    begun_ns = time.monotonic_ns()
    multiply(TRIED).synchronize()
    count = max(1, round(device_ns * TRIED / (time.monotonic_ns() - begun_ns)))
    run_steps(folder, host_ns, lambda: multiply(count), lambda end: end.synchronize())
