"""When the device worked, from events behind its work, on a device that is an in-order clock."""

from __future__ import annotations

import ctypes
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
from tracing.hooks.device.eventcalls import EventCalls, EventMethods
from tracing.hooks.wrappers import steps, table
from tracing.sites.engine import ALL_SITES, CODES

CLOCK = ctypes.CFUNCTYPE(ctypes.c_int64)
MS = 1_000_000


@dataclass
class Device:
    """Works on one thing after the other; `now` is the host's clock, and looking at it takes a moment."""

    now: int = 5_000 * MS
    free: int = 0
    busy: list[tuple[int, int]] = field(default_factory=list)
    made: int = 0  # events
    functions: list[Any] = field(default_factory=list)  # of C, which nothing else keeps
    recorded: int = 0  # how often one was, which costs the host a launch

    def clock(self) -> int:
        self.now += 1_000
        return self.now

    def work(self, ns: int) -> None:
        begin = max(self.now, self.free)
        self.free = begin + ns
        self.busy.append((begin, self.free))

    def event(self) -> Event:
        self.made += 1
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


@pytest.fixture
def file() -> Iterator[Path]:
    with written(most=1 << 17) as path:
        yield path


def by_clock(device: Device, calls: EventCalls | None) -> EventCalls | None:
    """The calls, with the device's clock as the host's."""
    clock = CLOCK(device.clock)
    device.functions.append(clock)
    return calls and calls._replace(clock=ctypes.cast(clock, ctypes.c_void_p).value or 0)


class Timer:
    """Times a device by its events; its steps are those that it is given."""

    def __init__(self, device: Device) -> None:
        calls = by_clock(device, EventMethods(device.event).calls())
        self._launches = _recorder.Launches(layout.DEVICE, lambda: calls, launches.give_up)
        self.end, self.read = self._launches.end, self._launches.read

    def begin(self, step: int, close: bool = False) -> None:
        _recorder.set_step(step)
        self._launches.begin(close)


def test_a_step_that_waits_in_the_queue_begins_when_the_one_before_ends(file: Path) -> None:
    device = Device()
    timer = Timer(device)
    for step in range(2):
        timer.begin(step)
        device.work(10 * MS)
        timer.end()
        device.now += MS
    assert pieces_of(file) == []  # nothing is done yet, and nobody has waited for it
    device.now += 30 * MS
    timer.read()
    rows = pieces_of(file)
    assert [step for step, *_ in rows] == [0, 1]
    for (_, begin, end, uncertainty, _), (truth_begin, truth_end) in zip(rows, device.busy, strict=True):
        assert abs(begin - truth_begin) <= uncertainty and abs(end - truth_end) <= uncertainty < 10_000


@pytest.mark.parametrize("seed", range(5))
def test_busy_and_idle_are_those_of_the_device(seed: int, file: Path) -> None:
    """Steps of 2 to 12 ms, launched 1 to 15 ms apart: idle at times, at times with two steps in the queue."""
    device, chance = Device(), random.Random(seed)
    timer = Timer(device)
    for step in range(500):
        device.now += chance.randrange(MS, 15 * MS)
        timer.begin(step)
        device.work(chance.randrange(2 * MS, 12 * MS))
        timer.end()
    device.now += 1_000 * MS
    for _ in range(500):
        timer.read()
    rows = pieces_of(file)
    assert [step for step, *_ in rows] == list(range(500))
    busy, truth = (sum(end - begin for begin, end in pieces) for pieces in ([row[1:3] for row in rows], device.busy))
    length = device.busy[-1][1] - device.busy[0][0]
    assert busy == pytest.approx(truth, rel=0.02)
    assert length - busy == pytest.approx(length - truth, rel=0.02)
    assert all(abs(row[1] - at[0]) <= row[3] for row, at in zip(rows, device.busy, strict=True))
    surely = sum(row.end_ns - max(row.begin_ns, row.given_ns) for row in rows)
    assert surely == pytest.approx(truth, rel=0.02)  # launched at once


@pytest.mark.parametrize("kernel_ns", [20_000, 400_000, 3 * MS])
def test_where_launching_takes_long_the_truth_lies_between_two_bounds(kernel_ns: int, file: Path) -> None:
    """Ten kernels a step, a launch every 200 µs: after shorter ones the device is idle, and nothing says so."""
    device = Device()
    timer = Timer(device)
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
    rows = pieces_of(file)
    truth = 50 * 10 * kernel_ns
    most = sum(row.end_ns - row.begin_ns for row in rows)
    least = sum(max(row.end_ns - max(row.begin_ns, row.given_ns), 0) for row in rows)
    assert 0.98 * least <= truth <= 1.02 * most
    if kernel_ns > 200_000 * 10:  # the device is the slower one: after the first step it never waits
        assert least == pytest.approx(truth, rel=0.02)


def test_work_begins_with_its_first_launch_and_not_with_what_the_host_does_before_it(file: Path) -> None:
    device = Device()
    timer = Timer(device)
    timer.begin(0)
    device.now += MS  # the host enters the model
    timer.begin(0, close=True)
    device.work(2 * MS)
    timer.begin(0, close=True)  # a part of the model, as in micro-batches
    device.work(2 * MS)
    timer.end()
    device.now += 10 * MS
    timer.read()
    [row] = pieces_of(file)
    assert row.begin_ns == pytest.approx(device.busy[0][0], abs=5_000)


@pytest.mark.parametrize("apart_ns", [MS, 12 * MS])
def test_a_piece_of_work_costs_one_event_whether_the_device_is_busy_or_idle(apart_ns: int, file: Path) -> None:
    """Forward and sampling of 5 ms each."""
    device = Device()
    timer = Timer(device)
    for step in range(50):
        for _ in range(2):
            timer.begin(step)
            device.work(5 * MS)
            timer.end()
            device.now += apart_ns
    device.now += 1_000 * MS
    for _ in range(100):
        timer.read()
    rows = pieces_of(file)
    assert len(rows) == 100
    assert device.recorded / 100 == pytest.approx(1, abs=0.03)  # an anchor a second beside them
    assert all(abs(row.begin_ns - at[0]) <= row.uncertainty_ns for row, at in zip(rows, device.busy, strict=True))


def test_the_anchor_is_renewed_where_the_device_is_idle_and_carried_on_where_it_never_is(file: Path) -> None:
    device = Device()
    timer = Timer(device)
    for step in range(3000):  # always behind
        timer.begin(step)
        device.work(2 * MS)
        timer.end()
        device.now += 2 * MS - 4_000  # and a microsecond for each look at the clock
    assert (
        20e-6 * 5e9 < pieces_of(file)[-1].uncertainty_ns < 20e-6 * 9e9
    )  # after six seconds without a look: what clocks may drift
    device.now += 100 * MS
    timer.begin(3000)
    device.work(MS)
    timer.end()
    device.now += 2 * MS
    for _ in range(3001):
        timer.read()
    last = pieces_of(file)[-1]
    assert last.step == 3000 and last.uncertainty_ns < 10_000


def test_events_are_used_again(file: Path) -> None:
    device = Device()
    timer = Timer(device)
    for step in range(100):
        timer.begin(step)
        timer.begin(step)  # a launch inside another
        device.work(MS)
        timer.end()
        timer.end()
        device.now += 2 * MS
    assert device.made <= 6


# --- through the hooks ---


@pytest.fixture
def device(file: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    """One whose events stand in the place of torch's; the hooks time it."""
    device = Device()
    cuda = SimpleNamespace(Event=lambda enable_timing: device.event(), is_available=lambda: False)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(recorder, "say", lambda **more: None)
    monkeypatch.setattr(steps, "steps", steps.Steps())
    timer = _recorder.Launches(layout.DEVICE, lambda: by_clock(device, launches.find_calls()), launches.give_up)
    monkeypatch.setattr(launches, "launches", timer)
    monkeypatch.setattr(steps, "launches", timer)
    return device


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
    device: Device, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report: dict[str, Any] = {}
    monkeypatch.setattr(recorder, "say", report.update)
    run_steps(3, device)
    assert report == {"device": "pretend"}
    pieces = pieces_of(file)
    assert [piece.step for piece in pieces] == [0, 1, 2]
    for piece, forward, sampling in zip(pieces, device.busy[2::2], device.busy[3::2], strict=True):
        assert (piece.begin_ns, piece.end_ns) == pytest.approx((forward[0], sampling[1]), abs=5_000)


@pytest.mark.parametrize(("between_ns", "forward_is_known"), [(2 * MS, True), (20 * MS, False)])
def test_sampling_that_comes_late_is_a_piece_of_its_own(
    between_ns: int, forward_is_known: bool, device: Device, file: Path
) -> None:
    """The forward takes 3 ms: it still runs when its event is put, or nothing tells for sure when it ran."""
    run_steps(3, device, between_ns)
    pieces = pieces_of(file)
    assert [piece.step for piece in pieces] == [0, 0, 1, 1, 2, 2]
    for piece, (begin, end) in zip(pieces, device.busy[2:], strict=True):
        is_forward = end - begin == 3 * MS
        assert piece.begin_ns == pytest.approx(begin, abs=5_000) and piece.end_ns > end - 5_000
        assert (piece.end_ns == pytest.approx(end, abs=5_000)) == (forward_is_known or not is_forward)
        surely = piece.end_ns - max(piece.begin_ns, piece.given_ns)
        assert surely <= end - begin + 5_000


def test_an_encoders_work_is_a_piece_before_the_forward(device: Device, file: Path) -> None:
    """It was idle time; a step without a picture puts no event for it."""

    def encode(runner: None, given: Any) -> None:
        if given.scheduled_encoder_inputs:
            device.work(2 * MS)

    encoder = hooked("encoder.run", encode)
    model = launches.begun(lambda: device.work(3 * MS))

    def run(worker: None, output: Any) -> None:
        encoder(None, output)
        device.now += 5 * MS
        hooked("runner.forward", model)()

    execute = hooked("worker.execute", run)
    sample = hooked("worker.sample", lambda worker, grammar: hooked("runner.sample", lambda: device.work(MS))())
    for step, pictures in enumerate(({}, {"a": [0]}, {})):
        output = SimpleNamespace(total_num_scheduled_tokens=1, enginescope_step=step, scheduled_encoder_inputs=pictures)
        execute(None, output)
        sample(None, None)
        hooked("device.wait", lambda output: setattr(device, "now", device.free + 1_000))(SimpleNamespace())
    launches.launches.read()
    pieces = pieces_of(file)
    assert [piece.step for piece in pieces] == [0, 1, 1, 2]
    assert pieces[1].begin_ns == pytest.approx(device.busy[2][0], abs=5_000)
    assert pieces[2].begin_ns == pytest.approx(device.busy[3][0], abs=5_000)


def test_in_standby_the_model_puts_no_event(device: Device, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread has a step still from the last recording: the next one's first sampling ended what began then."""
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


def test_without_a_device_nothing_is_timed(device: Device, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Event:
        raise RuntimeError("Torch not compiled with CUDA enabled")

    monkeypatch.setattr(device, "event", refuse)
    run_steps(2, device)
    assert numbers(file, layout.DEVICE) == []


def test_a_failing_event_ends_the_timing_and_nothing_else(
    device: Device, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(Event):
        def elapsed_time(self, end: Event) -> float:
            raise RuntimeError("device lost")

    monkeypatch.setattr(device, "event", lambda: Broken(device))
    monkeypatch.setattr(recorder, "_state", {"missing": []})
    run_steps(3, device)
    assert numbers(file, layout.DEVICE) == []
    assert sum(row["site"] == CODES["worker.execute"] for row in records(file)) == 4
    assert "device time (RuntimeError: device lost)" in capsys.readouterr().err
