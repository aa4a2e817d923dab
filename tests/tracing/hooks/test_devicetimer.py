"""When the device worked, from events around its work, on a device that is an in-order clock."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tracing.hooks.eventrecords import numbers, pieces_of, records, written
from tracing.events import layout
from tracing.hooks import _recorder, recorder
from tracing.hooks.device import launches
from tracing.hooks.device.devicetimer import DevicePiece, DeviceTimer
from tracing.hooks.wrappers import steps, table
from tracing.sites.engine import ALL_SITES, CODES

MS = 1_000_000


@dataclass
class Device:
    """Works on one thing after the other; `now` is the host's clock, and looking at it takes a moment."""

    now: int = 5_000 * MS
    free: int = 0
    busy: list[tuple[int, int]] = field(default_factory=list)
    recorded: int = 0  # events, each of which costs the host a launch

    def clock(self) -> int:
        self.now += 1_000
        return self.now

    def work(self, ns: int) -> None:
        begin = max(self.now, self.free)
        self.free = begin + ns
        self.busy.append((begin, self.free))

    def event(self) -> Event:
        return Event(self)


class Event:
    def __init__(self, device: Device) -> None:
        self.device, self.at = device, 0

    def record(self, stream: object, /) -> None:
        self.device.recorded += 1
        self.at = max(self.device.now, self.device.free)

    def query(self) -> bool:
        return self.device.now >= self.at

    def elapsed_time(self, end: Event) -> float:
        assert self.query() and end.query(), "asked for a time that has not come"
        return (end.at - self.at) / MS


def timed(device: Device) -> tuple[DeviceTimer, list[DevicePiece]]:
    rows: list[DevicePiece] = []
    return DeviceTimer(device.event, lambda: None, device.clock, rows.append), rows


def test_a_step_that_waits_in_the_queue_begins_when_the_one_before_ends() -> None:
    device = Device()
    timer, rows = timed(device)
    for step in range(2):
        timer.begin(step)
        device.work(10 * MS)
        timer.end()
        device.now += MS
    assert rows == []  # nothing is done yet, and nobody has waited for it
    device.now += 30 * MS
    timer.read()
    assert [step for step, *_ in rows] == [0, 1]
    for (_, begin, end, uncertainty, _), (truth_begin, truth_end) in zip(rows, device.busy, strict=True):
        assert abs(begin - truth_begin) <= uncertainty and abs(end - truth_end) <= uncertainty < 10_000


@pytest.mark.parametrize("seed", range(5))
def test_busy_and_idle_are_those_of_the_device(seed: int) -> None:
    """Steps of 2 to 12 ms, launched 1 to 15 ms apart: idle at times, at times with two steps in the queue."""
    device, chance = Device(), random.Random(seed)
    timer, rows = timed(device)
    for step in range(500):
        device.now += chance.randrange(MS, 15 * MS)
        timer.begin(step)
        device.work(chance.randrange(2 * MS, 12 * MS))
        timer.end()
    device.now += 1_000 * MS
    for _ in range(500):
        timer.read()
    assert [step for step, *_ in rows] == list(range(500))
    busy, truth = (sum(end - begin for begin, end in pieces) for pieces in ([row[1:3] for row in rows], device.busy))
    length = device.busy[-1][1] - device.busy[0][0]
    assert busy == pytest.approx(truth, rel=0.02)
    assert length - busy == pytest.approx(length - truth, rel=0.02)
    assert all(abs(row[1] - at[0]) <= row[3] for row, at in zip(rows, device.busy, strict=True))
    surely = sum(row.end_ns - max(row.begin_ns, row.given_ns) for row in rows)
    assert surely == pytest.approx(truth, rel=0.02)  # launched at once


@pytest.mark.parametrize("kernel_ns", [20_000, 400_000, 3 * MS])
def test_where_launching_takes_long_the_truth_lies_between_two_bounds(kernel_ns: int) -> None:
    """Ten kernels a step, a launch every 200 µs: after shorter ones the device is idle, and nothing says so."""
    device = Device()
    timer, rows = timed(device)
    for step in range(50):
        timer.begin(step)
        for _ in range(10):
            device.work(kernel_ns)
            device.now += 200_000
        timer.end()
        device.now += 5 * MS
    device.now += 2_000 * MS
    for _ in range(50):
        timer.read()
    truth = 50 * 10 * kernel_ns
    most = sum(row.end_ns - row.begin_ns for row in rows)
    least = sum(max(row.end_ns - max(row.begin_ns, row.given_ns), 0) for row in rows)
    assert 0.98 * least <= truth <= 1.02 * most
    if kernel_ns > 200_000 * 10:  # the device is the slower one: after the first step it never waits
        assert least == pytest.approx(truth, rel=0.02)


def test_work_begins_with_its_first_launch_and_not_with_what_the_host_does_before_it() -> None:
    device = Device()
    timer, rows = timed(device)
    timer.begin(0)
    device.now += MS  # the host enters the model
    timer.begin(0, close=True)
    device.work(2 * MS)
    timer.begin(0, close=True)  # a part of the model, as in micro-batches
    device.work(2 * MS)
    timer.end()
    device.now += 10 * MS
    timer.read()
    assert rows[0].begin_ns == pytest.approx(device.busy[0][0], abs=5_000)


@pytest.mark.parametrize("apart_ns", [MS, 12 * MS])
def test_a_piece_of_work_costs_one_event_whether_the_device_is_busy_or_idle(apart_ns: int) -> None:
    """Forward and sampling of 5 ms each."""
    device = Device()
    timer, rows = timed(device)
    for step in range(50):
        for _ in range(2):
            timer.begin(step)
            device.work(5 * MS)
            timer.end()
            device.now += apart_ns
    device.now += 1_000 * MS
    while len(rows) < 100:
        timer.read()
    assert device.recorded / 100 == pytest.approx(1, abs=0.03)  # an anchor a second beside them
    assert all(abs(row.begin_ns - at[0]) <= row.uncertainty_ns for row, at in zip(rows, device.busy, strict=True))


def test_the_anchor_is_renewed_where_the_device_is_idle_and_carried_on_where_it_never_is() -> None:
    device = Device()
    timer, rows = timed(device)
    for step in range(3000):  # always behind
        timer.begin(step)
        device.work(2 * MS)
        timer.end()
        device.now += 2 * MS - 4_000  # and a microsecond for each look at the clock
    assert 20e-6 * 5e9 < rows[-1][3] < 20e-6 * 9e9  # after six seconds without a look: what clocks may drift
    device.now += 100 * MS
    timer.begin(3000)
    device.work(MS)
    timer.end()
    device.now += 2 * MS
    while not rows or rows[-1][0] != 3000:
        timer.read()
    assert rows[-1][3] < 10_000


def test_events_are_used_again() -> None:
    device = Device()
    made: list[Event] = []
    timer = DeviceTimer(lambda: made.append(device.event()) or made[-1], lambda: None, device.clock, lambda *row: None)
    for step in range(100):
        timer.begin(step)
        timer.begin(step)  # a launch inside another
        device.work(MS)
        timer.end()
        timer.end()
        device.now += 2 * MS
    assert len(made) <= 6


# --- through the hooks ---


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(steps, "steps", steps.Steps())
    fresh = launches.Launches()
    monkeypatch.setattr(launches, "launches", fresh)
    monkeypatch.setattr(steps, "launches", fresh)
    with written(most=1 << 17) as path:
        yield path


def hooked(site: str, function: Any) -> Any:
    return table.wrapper_of(ALL_SITES[CODES[site]])(function)


def run_steps(count: int, device: Device, between_ns: int = 0) -> None:
    """A worker's steps, after one of its own that nobody scheduled; some time lies between forward and sampling."""
    forward = hooked("runner.forward", lambda: device.work(3 * MS))
    sample = hooked("runner.sample", lambda: device.work(MS))
    execute = hooked("worker.execute", lambda worker, output: forward())
    sample_tokens = hooked("worker.sample", lambda worker, grammar: sample())
    wait = hooked("device.wait", lambda output: setattr(device, "now", device.free + 1_000))
    for step in range(-1, count):
        output = SimpleNamespace(total_num_scheduled_tokens=1, enginescope_step=step)
        execute(None, output)
        device.now += between_ns
        sample_tokens(None, None)
        wait(SimpleNamespace())


def test_forward_and_the_sampling_that_follows_at_once_are_one_piece_of_their_step(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, report = Device(), dict[str, Any]()
    cuda = SimpleNamespace(Event=lambda enable_timing: device.event(), is_available=lambda: False)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(recorder, "say", report.update)
    monkeypatch.setattr(_recorder, "now", device.clock)
    run_steps(3, device)
    assert report == {"device": "pretend"}
    pieces = pieces_of(file)
    assert [piece.step for piece in pieces] == [0, 1, 2]
    for piece, forward, sampling in zip(pieces, device.busy[2::2], device.busy[3::2], strict=True):
        assert (piece.begin_ns, piece.end_ns) == pytest.approx((forward[0], sampling[1]), abs=5_000)


@pytest.mark.parametrize(("between_ns", "forward_is_known"), [(2 * MS, True), (20 * MS, False)])
def test_sampling_that_comes_late_is_a_piece_of_its_own(
    between_ns: int, forward_is_known: bool, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The forward takes 3 ms: it still runs when its event is put, or nothing tells for sure when it ran."""
    device = Device()
    cuda = SimpleNamespace(Event=lambda enable_timing: device.event(), is_available=lambda: False)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(recorder, "say", lambda **more: None)
    monkeypatch.setattr(_recorder, "now", device.clock)
    run_steps(3, device, between_ns)
    pieces = pieces_of(file)
    assert [piece.step for piece in pieces] == [0, 0, 1, 1, 2, 2]
    for piece, (begin, end) in zip(pieces, device.busy[2:], strict=True):
        is_forward = end - begin == 3 * MS
        assert piece.begin_ns == pytest.approx(begin, abs=5_000) and piece.end_ns > end - 5_000
        assert (piece.end_ns == pytest.approx(end, abs=5_000)) == (forward_is_known or not is_forward)
        surely = piece.end_ns - max(piece.begin_ns, piece.given_ns)
        assert surely <= end - begin + 5_000


def test_in_standby_the_model_puts_no_event(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread has a step still from the last recording: the next one's first sampling ended what began then."""
    device = Device()
    cuda = SimpleNamespace(Event=lambda enable_timing: device.event(), is_available=lambda: False)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(recorder, "say", lambda **more: None)
    monkeypatch.setattr(_recorder, "now", device.clock)
    model = launches.begun(lambda: device.work(MS))
    sample = hooked("worker.sample", lambda worker, grammar: hooked("runner.sample", lambda: device.work(MS))())
    run_steps(1, device)
    monkeypatch.setattr(launches, "writing", lambda: False)
    _recorder.set_step(0)
    model()
    monkeypatch.setattr(launches, "writing", lambda: True)
    device.now += 1_000 * MS
    sample(None, None)
    device.now += 10 * MS
    launches.launches.read()
    assert max(piece.end_ns - piece.begin_ns for piece in pieces_of(file)) < 10 * MS


def test_without_a_device_nothing_is_timed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(enable_timing: bool) -> None:
        raise RuntimeError("Torch not compiled with CUDA enabled")

    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=SimpleNamespace(Event=refuse)))
    run_steps(2, Device())
    assert numbers(file, layout.DEVICE) == []


def test_a_failing_event_ends_the_timing_and_nothing_else(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(Event):
        def elapsed_time(self, end: Event) -> float:
            raise RuntimeError("device lost")

    device = Device()
    cuda = SimpleNamespace(Event=lambda enable_timing: Broken(device), is_available=lambda: True)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(recorder, "_state", {"missing": []})
    monkeypatch.setattr(recorder, "say", lambda **more: None)
    run_steps(3, device)
    assert numbers(file, layout.DEVICE) == []
    assert sum(row["site"] == CODES["worker.execute"] for row in records(file)) == 4
    assert "device time (RuntimeError: device lost)" in capsys.readouterr().err
