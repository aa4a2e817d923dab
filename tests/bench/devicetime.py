"""What timing a GPU costs the host a step: the same launches through the hooks with and without device events.

Needs a GPU and torch, no vLLM. Blocks of steps alternate in one process; a step launches two functions of ten small
kernels, or of two large ones, as forward and sampling. Example: python -m tests.bench.devicetime
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace

import torch

from tests.gpu.test_device_time import additions, hooked, products
from tests.tracing.hooks.eventrecords import written
from tracing.hooks import recorder
from tracing.hooks.device import launches
from tracing.hooks.device.devicetimer import DeviceTimer

BLOCKS, STEPS = 40, 64
Work = Callable[[], None]


def block_us(forward: Work, sample: Work, most_under_way: int) -> float:
    """Microseconds of the host a step, its waits for the device left out: launches, events, and reading them."""
    executed = hooked("worker.execute", lambda worker, output: hooked("runner.forward", forward)())
    sampled = hooked("worker.sample", lambda worker, grammar: hooked("runner.sample", sample)())
    waited_ns, under_way = 0, list[torch.cuda.Event]()

    def synchronize(event: torch.cuda.Event) -> None:
        nonlocal waited_ns
        began = time.perf_counter_ns()
        event.synchronize()
        waited_ns += time.perf_counter_ns() - began

    wait = hooked("device.wait", synchronize)
    began = time.perf_counter_ns()
    for step in range(STEPS):
        executed(None, SimpleNamespace(total_num_scheduled_tokens=1, enginescope_step=step))
        sampled(None, None)
        under_way.append(torch.cuda.Event())
        under_way[-1].record()
        if len(under_way) == most_under_way:
            wait(under_way.pop(0))
    spent_ns = time.perf_counter_ns() - began - waited_ns
    torch.cuda.synchronize()
    return spent_ns / STEPS / 1e3


def launch_us() -> float:
    """Microseconds of one launch on an idle device, for scale."""
    launch, spent_ns = additions(1), 0
    launch()
    for _ in range(STEPS):
        torch.cuda.synchronize()
        began = time.perf_counter_ns()
        launch()
        spent_ns += time.perf_counter_ns() - began
    return spent_ns / STEPS / 1e3


def differences(timer: DeviceTimer | None, forward: Work, sample: Work, most_under_way: int) -> list[float]:
    """Microseconds a step that the timer costs, a pair of blocks each."""
    costs: list[float] = []
    for block in range(BLOCKS):
        pair: dict[bool, float] = {}
        for chosen in (None, timer) if block % 2 else (timer, None):
            launches.launches.timer, launches.launches.sought = chosen, True
            pair[chosen is not None] = block_us(forward, sample, most_under_way)
        costs.append(pair[True] - pair[False])
    return costs


def main() -> None:
    recorder.say = lambda **more: None
    print(f"{torch.cuda.get_device_name()}; a launch takes {launch_us():.1f} µs here")
    small, large = additions(10), products(2, 4096)
    with written(most=1 << 20):
        timer = launches.find_timer()
        for name, work, most_under_way in (("the host is slower", small, 1), ("the device is slower", large, 2)):
            low, middle, high = statistics.quantiles(differences(timer, work, work, most_under_way), n=4)
            print(f"{name}: device events cost {middle:.1f} µs a step ({low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main()
