"""Delays on a GPU: as long as was asked, by CUPTI and by what a step takes, and for the host about a launch."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.needs import needs_gpu
from tests.tracing.hooks.eventrecords import numbers, written
from tracing.events import layout
from tracing.events.delays import FILE, NOTHING, ON_DEVICE
from tracing.hooks import _recorder, recorder
from tracing.hooks.device.devicedelay import DeviceDelays
from tracing.hooks.device.launches import fresh
from tracing.hooks.wrappers import steps, table
from tracing.sites.engine import ALL_SITES, CODES
from tracing.whatif.engine.delayfile import DelayFile

pytestmark = needs_gpu
MS, US = 1_000_000, 1_000
STEPS, AHEAD = 100, 2
ROUNDS = 3
LAUNCHES = 5  # that a delay may cost the host on the mean: it is one, and one that is timed two, with two events
Work = Callable[[], Any]


def products(count: int) -> Work:
    """Products of large matrices, about a quarter of a millisecond each."""
    import torch

    a, b = (torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: [torch.mm(a, b, out=out) for _ in range(count)]


def spins() -> Work:
    """A kernel that does nothing for some two milliseconds: unlike products it does not pull the GPU's clock down."""
    import torch

    return lambda: torch.cuda._sleep(4_000_000)


def addition() -> Work:
    """An addition to a few numbers: nothing for a device."""
    import torch

    few = torch.zeros(8, device="cuda")
    return lambda: few.add_(1)


def forward_of(work: Work) -> Work:
    """The work, hooked as the model's call is."""
    hooked: Work = table.wrapper_of(ALL_SITES[CODES["runner.forward"]])(work)
    return hooked


def step_ns(forward: Work, host_ns: int = 0, count: int = STEPS) -> float:
    """The wall time of a step, of which two are under way; the host works by itself for so long in each."""
    import torch

    under_way: deque[Any] = deque()
    torch.cuda.synchronize()
    begun_ns = time.monotonic_ns()
    for step in range(count):
        _recorder.set_step(step)
        end_ns = time.monotonic_ns() + host_ns
        while time.monotonic_ns() < end_ns:
            pass
        forward()
        under_way.append(torch.cuda.Event())
        under_way[-1].record()
        if len(under_way) == AHEAD:
            under_way.popleft().synchronize()
    torch.cuda.synchronize()
    return (time.monotonic_ns() - begun_ns) / count


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DelayFile]:
    """The file by which this process is asked for delays; the GPU's clock is up."""
    monkeypatch.setattr(steps, "launches", fresh())
    monkeypatch.setattr(recorder, "say", lambda **more: None)
    (tmp_path / FILE).write_bytes(NOTHING)
    _recorder.delay_by(str(tmp_path / FILE), CODES["delay"])
    _recorder.delay_on_device(DeviceDelays().put)
    step_ns(products(20))
    with DelayFile(tmp_path / FILE) as file:
        yield file


@pytest.fixture(scope="module")
def profiler_begun() -> None:
    """A process's first profile may lack kernels that were launched before it."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]):
        torch.cuda._sleep(1000)
        products(1)()
        torch.cuda.synchronize()


@pytest.fixture
def events(asked: DelayFile) -> Iterator[Path]:
    with written(most=1 << 17) as path:
        yield path


def listed_ns(events: Path) -> list[int]:
    """The delays that were written down."""
    return [achieved_ns for _, _, achieved_ns in numbers(events, layout.DELAYED)]


def grown_ns(asked: DelayFile, forward: Work, length_ns: int, host_ns: int = 0) -> float:
    """By how much a step grows with a delay in it, in turns with steps without, on the median."""
    grown = []
    for _ in range(ROUNDS):
        plain_ns = step_ns(forward, host_ns)
        asked.put("runner.forward", ON_DEVICE, length_ns, phase=1)
        grown.append(step_ns(forward, host_ns) - plain_ns)
        asked.clear()
    return statistics.median(grown)


@pytest.mark.parametrize("length_ns", [MS, 5 * MS])
def test_where_the_device_is_the_slower_one_a_step_grows_by_the_delay(
    asked: DelayFile, events: Path, length_ns: int
) -> None:
    grown = grown_ns(asked, forward_of(spins()), length_ns)
    achieved_ns = statistics.mean(listed_ns(events))
    print(f"\nasked {length_ns / MS:g} ms, achieved {achieved_ns / MS:.3f} ms, a step grew by {grown / MS:.3f} ms")
    assert achieved_ns == pytest.approx(length_ns, rel=0.01)
    assert grown == pytest.approx(achieved_ns, rel=0.05, abs=0.03 * MS)


@pytest.mark.parametrize("length_ns", [MS, 5 * MS])
def test_where_the_host_is_the_slower_one_a_delay_is_hidden_while_the_device_was_idle(
    asked: DelayFile, events: Path, length_ns: int
) -> None:
    """The host works for 3 ms in a step, and the device for next to nothing."""
    grown = grown_ns(asked, forward_of(addition()), length_ns, host_ns=3 * MS)
    print(f"\nasked {length_ns / MS:g} ms, a step of 3 ms of the host grew by {grown / MS:.3f} ms")
    assert grown == pytest.approx(max(0, length_ns - 3 * MS), abs=0.15 * MS)


@pytest.mark.usefixtures("profiler_begun")
@pytest.mark.parametrize("length_ns", [200 * US, MS, 5 * MS])
@pytest.mark.parametrize("host_ns", [0, 3 * MS])
def test_a_delay_is_as_long_as_was_asked_and_written_down(
    asked: DelayFile, events: Path, length_ns: int, host_ns: int
) -> None:
    """By CUPTI, of a device that is busy and of one that is idle before the delay."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    forward = forward_of(products(4) if not host_ns else addition())
    asked.put("runner.forward", ON_DEVICE, length_ns, phase=1)
    step_ns(forward, host_ns, count=10)  # until its length is known
    before = len(listed_ns(events))
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        step_ns(forward, host_ns)
    kernels = [event for event in profiled.events() or () if event.device_type == DeviceType.CUDA]
    spins_ns = [event.time_range.elapsed_us() * 1e3 for event in kernels if "spin" in event.name]
    assert STEPS <= len(spins_ns) <= 2 * STEPS, {event.name for event in kernels}  # one that is timed is two
    truth_ns, listed = sum(spins_ns) / STEPS, statistics.mean(listed_ns(events)[before:])
    print(f"\nasked {length_ns / US:g} µs, by CUPTI {truth_ns / US:.1f} µs, written down {listed / US:.1f} µs")
    assert truth_ns == pytest.approx(length_ns, rel=0.03)
    assert listed == pytest.approx(truth_ns, rel=0.03)


def test_a_delay_costs_the_host_about_a_launch(asked: DelayFile, events: Path) -> None:
    import torch

    forward = forward_of(lambda: None)

    def call_ns(call: Work) -> float:
        times = []
        for step in range(STEPS):
            _recorder.set_step(step)
            begun_ns = time.perf_counter_ns()
            call()
            times.append(time.perf_counter_ns() - begun_ns)
            torch.cuda.synchronize()
        return statistics.mean(sorted(times)[: -STEPS // 10])

    launch_ns, plain_ns = call_ns(lambda: torch.cuda._sleep(1000)), call_ns(forward)
    asked.put("runner.forward", ON_DEVICE, 100 * US, phase=1)
    cost_ns = call_ns(forward) - plain_ns
    print(f"\na delay costs the host {cost_ns / US:.1f} µs, a launch {launch_ns / US:.1f} µs")
    assert cost_ns < LAUNCHES * launch_ns
