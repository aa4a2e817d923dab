"""What timing a device costs the host a step, the reading included: by the runtime library's events and by torch's.

On a GPU (torch, no vLLM) blocks of steps alternate in one process, through the hooks with device events and without; a
step launches two functions of ten small kernels, or of two large ones, as forward and sampling. Without a GPU the
runtime library is a compiled stand-in whose events cost next to nothing, so that what is left is ours: a step's six
calls, each after other memory was read, as between them an engine does, and again with nothing between. Example:
python -m tests.bench.devicetime
"""

from __future__ import annotations

import functools
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch

from tests.gpu.test_device_time import additions, give_steps, products
from tests.tracing.hooks.device.standinruntime import StandInRuntime, torch_with_device
from tests.tracing.hooks.eventrecords import written
from tracing.events.layout import DEVICE
from tracing.hooks import _recorder, recorder
from tracing.hooks.device import launches
from tracing.hooks.device.eventcalls import EventCalls, EventMethods
from tracing.hooks.wrappers import steps

BLOCKS, STEPS = 40, 64
READ_MB, LINE = 4, 64
Work = Callable[[], object]


def timer_of(calls: EventCalls | None) -> _recorder.Launches:
    return _recorder.Launches(DEVICE, lambda: calls, launches.give_up)


# --- on a GPU ---


def block_us(work: Work, most_under_way: int, timer: _recorder.Launches) -> float:
    """Microseconds of the host a step, its waits for the device left out: launches, events, and reading them."""
    waited_ns = 0

    def synchronize(event: torch.cuda.Event) -> None:
        nonlocal waited_ns
        began = time.perf_counter_ns()
        event.synchronize()
        waited_ns += time.perf_counter_ns() - began

    with mock.patch.object(steps, "launches", timer), mock.patch.object(launches, "launches", timer):
        began = time.perf_counter_ns()
        give_steps(STEPS, work, work, most_under_way, synchronize)
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


def differences(timed: dict[str, EventCalls | None], step_us: Callable[[_recorder.Launches], float]) -> Iterator[str]:
    """What each way of timing costs a step above none, in words: a round of blocks each, in turns."""
    timers = [timer_of(None), *map(timer_of, timed.values())]
    rounds: list[list[float]] = []
    for number in range(BLOCKS):
        order = range(len(timers)) if number % 2 else range(len(timers))[::-1]
        took = {place: step_us(timers[place]) for place in order}
        rounds.append([took[place] - took[0] for place in range(1, len(timers))])
    for name, costs in zip(timed, zip(*rounds, strict=True), strict=True):
        low, middle, high = statistics.quantiles(costs, n=4)
        yield f"events by {name} cost {middle:.1f} µs a step ({low:.1f} to {high:.1f})"


def on_gpu() -> None:
    print(f"{torch.cuda.get_device_name()}; a launch takes {launch_us():.1f} µs here")
    calls, methods = launches.find_calls(), EventMethods(functools.partial(torch.cuda.Event, enable_timing=True))
    if calls is None or calls.stream is None:
        sys.exit("the runtime library's events cannot be used here: see the line above")
    timed = {"the runtime library": calls, "torch": methods.calls()}
    for name, work, most in (("the host is slower", additions(10), 1), ("the device is slower", products(2, 4096), 2)):
        for line in differences(timed, functools.partial(block_us, work, most)):
            print(f"{name}: {line}")


# --- without one ---


def cold_us(runtime: StandInRuntime, touch: Work, timer: _recorder.Launches) -> float:
    """Microseconds that the six calls of a step take, on the median, with `touch` before each."""
    calls = (timer.begin, functools.partial(timer.begin, True), timer.pause, timer.begin, timer.end, timer.read)
    spent: list[int] = []
    for step in range(STEPS):
        _recorder.set_step(step)
        runtime.now.value += 3_000_000  # the device is done with the step before
        spent_ns = 0
        for call in calls:
            touch()
            began = time.perf_counter_ns()
            call()
            spent_ns += time.perf_counter_ns() - began
        spent.append(spent_ns)
    return statistics.median(spent) / 1e3


def without_gpu() -> None:
    lines = memoryview(bytearray(READ_MB << 20))[::LINE]
    event = SimpleNamespace(record=id, query=True.__bool__, elapsed_time=functools.partial(next, itertools.repeat(1.0)))
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(sys.modules):
        runtime = StandInRuntime(Path(folder))
        sys.modules["torch"] = torch_with_device(runtime.extension)
        timed = {"the runtime library": launches.find_calls(), "torch": EventMethods(lambda: event).calls()}
        for between, touch in ((f"{READ_MB} MB read", lines.tobytes), ("nothing", lambda: None)):
            for line in differences(timed, functools.partial(cold_us, runtime, touch)):
                print(f"stand-in, {between} between calls: {line}")


def main() -> None:
    recorder.say = lambda **more: None
    with written(most=1 << 20):
        (on_gpu if torch.cuda.is_available() else without_gpu)()


if __name__ == "__main__":
    main()
