"""What timing a GPU costs the host a step: the same launches through the hooks with and without device events.

Needs a GPU and torch, no vLLM. Blocks of steps alternate in one process; a step launches two functions of ten small
kernels, as forward and sampling. Example: python -m tests.bench.devicetime
"""

from __future__ import annotations

import statistics
import time
from types import SimpleNamespace

import torch

from tests.gpu.test_device_time import additions, hooked
from tests.tracing.eventrecords import written
from tracing.hooks import launches, recorder
from tracing.hooks.devicetimer import DeviceTimer

BLOCKS, STEPS = 40, 100


def block_us() -> float:
    """Microseconds of the host a step; the device is waited for between steps, outside of what is measured."""
    executed = hooked("worker.execute", lambda worker, output: hooked("runner.forward", additions(10))())
    sampled = hooked("worker.sample", lambda worker, grammar: hooked("runner.sample", additions(10))())
    spent_ns = 0
    for step in range(STEPS):
        began = time.perf_counter_ns()
        executed(None, SimpleNamespace(total_num_scheduled_tokens=1, enginescope_step=step))
        sampled(None, None)
        spent_ns += time.perf_counter_ns() - began
        torch.cuda.synchronize()
    return spent_ns / STEPS / 1e3


def set_timer(timer: DeviceTimer | None) -> None:
    launches.launches.timer, launches.launches.sought = timer, True


def main() -> None:
    recorder.say = lambda **more: None
    with written(most=1 << 20):
        timer = launches.find_timer()
        costs: list[float] = []
        for block in range(BLOCKS):
            pair = []
            for chosen in (None, timer) if block % 2 else (timer, None):
                set_timer(chosen)
                pair.append((chosen is not None, block_us()))
            costs.append(dict(pair)[True] - dict(pair)[False])
    low, middle, high = statistics.quantiles(costs, n=4)
    print(f"{torch.cuda.get_device_name()}: device events cost {middle:.1f} µs a step ({low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main()
