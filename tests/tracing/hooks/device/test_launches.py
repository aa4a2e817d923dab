"""When the device worked, from events behind its work, on a device that is an in-order clock."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.tracing.hooks.device.inorderdevice import MS, Device, by_clock
from tests.tracing.hooks.eventrecords import pieces_of
from tracing.events import layout
from tracing.hooks import _recorder
from tracing.hooks.device import launches
from tracing.hooks.device.eventcalls import EventMethods


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
