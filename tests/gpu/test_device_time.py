"""The device-time hooks around a program of torch on a GPU, held against the kernels that CUPTI saw meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.needs import needs_gpu
from tests.tracing.hooks.eventrecords import DevicePiece, pieces_of, records, written
from tracing.events import layout
from tracing.hooks import _recorder, recorder
from tracing.hooks.device import launches
from tracing.hooks.device.devicedelay import current_stream
from tracing.hooks.device.eventcalls import EventMethods
from tracing.hooks.wrappers import steps, table
from tracing.sites.engine import ALL_SITES, CODES
from tracing.torchsums import trace

pytestmark = needs_gpu
STEPS = 60
Work = Callable[[], Any]


def hooked(site: str, function: Any) -> Any:
    return table.wrapper_of(ALL_SITES[CODES[site]])(function)


def products(count: int, size: int) -> Work:
    """Products of large matrices: the device is slower than the host."""
    import torch

    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(a)

    def work() -> None:
        for _ in range(count):
            torch.mm(a, b, out=out)

    return work


def additions(count: int) -> Work:
    """Additions to a few numbers: the host is slower than the device."""
    import torch

    few = torch.zeros(8, device="cuda")

    def work() -> None:
        for _ in range(count):
            few.add_(1)

    return work


def graph_of(work: Work) -> Work:
    """The same as one launch."""
    import torch

    work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


@dataclass(frozen=True)
class Measured:
    """Pieces by the hooks, and of each the kernels by CUPTI: begin and end in ns of CLOCK_MONOTONIC."""

    pieces: list[DevicePiece]
    kernels: list[list[tuple[int, int]]]

    @property
    def busy_ns(self) -> int:
        return sum(end - begin for piece in self.kernels for begin, end in piece)

    @property
    def truth_ns(self) -> int:
        """From a piece's first kernel to its last: some microseconds lie between two kernels that wait for nothing."""
        return sum(piece[-1][1] - piece[0][0] for piece in self.kernels)

    @property
    def most_ns(self) -> int:
        return sum(piece.end_ns - piece.begin_ns for piece in self.pieces)

    @property
    def least_ns(self) -> int:
        return sum(max(piece.end_ns - max(piece.begin_ns, piece.given_ns), 0) for piece in self.pieces)


def kernels_of(path: Path, ahead_ns: int) -> list[tuple[int, int]]:
    """Kernels by torch's trace, in their order; on one stream no two of them overlap."""
    kernels = sorted((each.start_ns, each.end_ns) for each in trace.events(path, ahead_ns) if each.kind == "kernel")
    assert all(first[1] <= second[0] for first, second in pairwise(kernels))
    return kernels


def give_steps(count: int, forward: Work, sample: Work, waiting_steps: int, wait: Callable[[Any], None]) -> None:
    """Give a device steps through the worker's hooks; `wait` is called for the first of so many under way."""
    import torch

    executed = hooked("worker.execute", lambda worker, output: hooked("runner.forward", forward)())
    sampled = hooked("worker.sample", lambda worker, grammar: hooked("runner.sample", sample)())
    waited, under_way = hooked("device.wait", wait), list[Any]()
    for step in range(count):
        executed(None, SimpleNamespace(total_num_scheduled_tokens=1, enginescope_step=step))
        sampled(None, None)
        under_way.append(torch.cuda.Event())
        under_way[-1].record()
        if len(under_way) == waiting_steps:
            waited(under_way.pop(0))


def run_steps(forward: Work, sample: Work, waiting_steps: int) -> None:
    """A worker's steps; the host waits for the device once so many of them are under way."""
    import torch

    give_steps(STEPS, forward, sample, waiting_steps, lambda output: output.synchronize())
    torch.cuda.synchronize()
    time.sleep(0.01)
    for _ in range(STEPS):
        launches.launches.read()


def time_by(timer: _recorder.Launches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launches, "launches", timer)
    monkeypatch.setattr(steps, "launches", timer)


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    import torch

    torch.cuda.synchronize()
    monkeypatch.setattr(steps, "steps", steps.Steps())
    time_by(launches.fresh(), monkeypatch)
    monkeypatch.setattr(recorder, "say", lambda **more: None)
    with written(most=1 << 17) as path:
        yield path


def measured(file: Path, scratch: Path, forward: Work, sample: Work, waiting_steps: int, tenth: int = 2) -> Measured:
    """The steps' pieces and kernels; sampling is `tenth` kernels, forward ten times as many."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    forward(), sample()
    torch.cuda.synchronize()
    ahead_ns = time.time_ns() - time.monotonic_ns()
    with profile(activities=[ProfilerActivity.CUDA]) as kernels:
        run_steps(forward, sample, waiting_steps)
    path = scratch / "torch.json"
    kernels.export_chrome_trace(str(path))
    rows = kernels_of(path, ahead_ns)
    assert len(rows) == 11 * tenth * STEPS
    found = Measured(pieces_of(file), [rows[first : first + 11 * tenth] for first in range(0, len(rows), 11 * tenth)])
    assert [piece.step for piece in found.pieces] == list(range(STEPS))
    describe(found)
    return found


def describe(found: Measured) -> None:
    pairs = list(zip(found.pieces, found.kernels, strict=True))
    begins = [(piece.begin_ns - kernels[0][0]) / 1e3 for piece, kernels in pairs]
    ends = [(piece.end_ns - kernels[-1][1]) / 1e3 for piece, kernels in pairs]
    print(
        f"\nbusy by CUPTI {found.busy_ns / 1e6:.3f} ms, first to last kernel {found.truth_ns / 1e6:.3f} ms, "
        f"by the hooks {found.least_ns / 1e6:.3f} to {found.most_ns / 1e6:.3f} ms; "
        f"begins {min(begins):.1f} to {max(begins):.1f} µs and ends {min(ends):.1f} to {max(ends):.1f} µs "
        f"after CUPTI's, known to {max(piece.uncertainty_ns for piece in found.pieces) / 1e3:.1f} µs"
    )


@pytest.mark.parametrize("waiting_steps", [1, 2])
def test_where_the_device_is_the_slower_one_its_time_is_known(file: Path, tmp_path: Path, waiting_steps: int) -> None:
    found = measured(file, tmp_path, products(20, 4096), products(2, 4096), waiting_steps)
    if waiting_steps > 1:  # launched while the step before still ran, so that between pieces it did not wait either
        assert found.most_ns == pytest.approx(found.truth_ns, rel=0.01)
        assert found.least_ns == pytest.approx(found.truth_ns, rel=0.005)
    else:  # an idle device begins a launch's latency after the host
        assert found.least_ns <= found.truth_ns <= found.most_ns <= 1.05 * found.truth_ns


def test_a_graph_is_one_launch_whose_time_is_known(file: Path, tmp_path: Path) -> None:
    found = measured(file, tmp_path, graph_of(products(20, 4096)), products(2, 4096), 1)
    assert found.most_ns == pytest.approx(found.truth_ns, rel=0.02)
    assert found.least_ns == pytest.approx(found.truth_ns, rel=0.1)  # less by what it takes to launch, 0.1 to 0.3 ms


def test_where_the_host_is_the_slower_one_the_truth_lies_between_the_bounds(file: Path, tmp_path: Path) -> None:
    found = measured(file, tmp_path, additions(200), additions(20), 1, 20)
    assert found.least_ns <= found.busy_ns <= found.truth_ns <= found.most_ns


def test_a_wait_for_the_device_is_the_time_that_it_still_works(file: Path, tmp_path: Path) -> None:
    found = measured(file, tmp_path, products(20, 4096), products(2, 4096), 1)
    rows = records(file)
    waits = rows[(rows["kind"] == layout.SPAN) & (rows["site"] == CODES["device.wait"])]
    waited_ns = int((waits["end"] - waits["start"]).sum())
    assert waited_ns == pytest.approx(found.least_ns, rel=0.05)


def test_torchs_events_tell_the_same_where_the_runtime_librarys_cannot_be_used(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    calls = EventMethods(lambda: torch.cuda.Event(enable_timing=True)).calls()
    time_by(_recorder.Launches(layout.DEVICE, lambda: calls, launches.give_up), monkeypatch)
    found = measured(file, tmp_path, products(20, 4096), products(2, 4096), 2)
    assert found.most_ns == pytest.approx(found.truth_ns, rel=0.01)
    assert found.least_ns == pytest.approx(found.truth_ns, rel=0.005)


def test_events_are_the_runtime_librarys_in_the_threads_own_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(recorder, "say", lambda **more: None)
    calls, stream = launches.find_calls(), current_stream(torch)
    assert calls is not None and calls.device is not None and calls.stream is not None

    def is_current(known: Any) -> bool:
        assert calls and calls.device and calls.stream
        return bool(known == torch.cuda.current_stream() and known.cuda_stream == calls.stream(calls.device()))

    assert is_current(stream())
    with torch.cuda.stream(torch.cuda.Stream()):
        assert is_current(stream()) and stream() != torch.cuda.default_stream()
    assert is_current(stream()) and stream() == torch.cuda.default_stream()
