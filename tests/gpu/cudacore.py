"""The core of a stand-in engine whose steps keep a GPU busy for about so long.

By kernels that do nothing, as the delays are. Products of matrices drive a card to its power limit, where its clock is
slow (1.5 GHz in place of 2 on an H200); in a delay it rests, and the products after it are quicker: of 1.7 ms more a
step took 1.0 ms.
"""

from __future__ import annotations

import time
from typing import Any

from tests.tracing.whatif.standinengine import run_steps

TRIED = 100_000_000  # cycles that tell how long one takes


def core(folder: str, host_ns: int, device_ns: int) -> None:
    """Steps, as the pretend device's stand-in has them."""
    import torch

    def spin(cycles: int) -> Any:
        torch.cuda._sleep(cycles)
        end = torch.cuda.Event()
        end.record()
        return end

    spin(TRIED).synchronize()  # the clock comes up
    begun_ns = time.monotonic_ns()
    spin(TRIED).synchronize()
    cycles = round(device_ns * TRIED / (time.monotonic_ns() - begun_ns))
    run_steps(folder, host_ns, lambda: spin(cycles), lambda end: end.synchronize())
