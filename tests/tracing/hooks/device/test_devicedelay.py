"""A delay on the device: as long as was asked, whatever the device's clock does, and known, without a wait for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.tracing.hooks.eventrecords import numbers, records, written
from tracing.events import layout
from tracing.events.delays import FILE, NOTHING, ON_DEVICE
from tracing.hooks import _recorder, recorder
from tracing.hooks.device.devicedelay import DeviceDelay, DeviceDelays
from tracing.hooks.device.launches import fresh
from tracing.hooks.wrappers import steps, table
from tracing.shapes.pretend.device import PretendDevice, PretendEvent
from tracing.sites.engine import ALL_SITES, CODES
from tracing.whatif.engine.delayfile import DelayFile

MS, US = 1_000_000, 1_000


@dataclass
class ClockedDevice:
    """A pretend device whose cycles are those of a clock that changes its speed, and a host whose time is set by hand.

    `gap_ns` is how late the host launches a kernel after the event before it.
    """

    cycles_per_ns: float = 2.0
    now: int = 0
    gap_ns: int = 0

    def __post_init__(self) -> None:
        self.queue = PretendDevice(lambda: self.now)
        self.event = type("Event", (PretendEvent,), {"device": self.queue})
        self.given_ns = 0

    def spin(self, cycles: int) -> None:
        self.now += self.gap_ns
        length_ns = round(cycles / self.cycles_per_ns)
        self.given_ns += length_ns
        self.queue.give(length_ns)


def put(delay: DeviceDelay, device: ClockedDevice, length_ns: int = MS, step_ns: int = 2 * MS) -> tuple[int, int]:
    """Put a delay, and let some time go by: how long it is said to be, and how long it is."""
    before_ns = device.given_ns
    achieved_ns = delay.put(length_ns)
    device.now += step_ns
    return achieved_ns, device.given_ns - before_ns


@pytest.fixture
def device() -> ClockedDevice:
    return ClockedDevice()


@pytest.fixture
def delay(device: ClockedDevice) -> DeviceDelay:
    return DeviceDelay(device.event, lambda: None, device.spin)


def test_the_first_is_not_known_and_tells_how_long_the_next_are(device: ClockedDevice, delay: DeviceDelay) -> None:
    assert [put(delay, device) for _ in range(3)] == [(0, MS // 2), (MS, MS), (MS, MS)]


def test_nothing_waits_for_a_device_that_is_behind(device: ClockedDevice, delay: DeviceDelay) -> None:
    """All delays are launched before the first has ended; of what is not known nothing is claimed."""
    assert [put(delay, device, 10 * MS, step_ns=0)[0] for _ in range(5)] == [0] * 5
    assert device.now == 0
    device.now = 100 * MS
    assert put(delay, device, 10 * MS) == (10 * MS, 10 * MS)


def test_delays_follow_the_devices_clock(device: ClockedDevice, delay: DeviceDelay) -> None:
    for _ in range(3):
        put(delay, device)
    device.cycles_per_ns = 1.6
    assert [put(delay, device) for _ in range(50)][-1] == (MS, MS)  # one in four is timed, and the last eight count


def test_a_host_that_launches_late_does_not_make_delays_short(device: ClockedDevice, delay: DeviceDelay) -> None:
    """The event before a kernel came early, and so the kernel seems to take longer than it does."""
    for gap_ns in (0, 0, 5 * MS, 0):
        device.gap_ns = gap_ns
        lengths_ns = put(delay, device, step_ns=20 * MS)
    assert lengths_ns == (MS, MS)


def test_a_delay_that_is_too_short_to_be_timed_tells_nothing(device: ClockedDevice, delay: DeviceDelay) -> None:
    put(delay, device)
    lengths_ns = [put(delay, device, length_ns) for length_ns in (10 * US, 0, 10 * US)]
    assert lengths_ns == [(10 * US, 10 * US), (0, 0), (10 * US, 10 * US)]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DelayFile]:
    """The file that this process looks at, which delays on a pretend device by torch's names."""
    monkeypatch.setattr(PretendEvent, "device", PretendDevice())
    monkeypatch.setattr(steps, "launches", fresh())
    monkeypatch.setattr(recorder, "say", lambda **more: None)
    cuda = SimpleNamespace(Event=PretendEvent, _sleep=PretendEvent.device.spin, is_available=lambda: False)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    (tmp_path / FILE).write_bytes(NOTHING)
    _recorder.delay_by(str(tmp_path / FILE), CODES["delay"])
    _recorder.delay_on_device(DeviceDelays().put)
    with DelayFile(tmp_path / FILE) as file:
        yield file


@pytest.fixture
def events() -> Iterator[Path]:
    with written(most=1 << 17) as path:
        yield path


def forward(step: int, body: Callable[[], object] = lambda: None) -> None:
    """The call of a model in a step."""
    _recorder.set_step(step)
    table.wrapper_of(ALL_SITES[CODES["runner.forward"]])(body)()
    PretendEvent.device.wait_until(PretendEvent.device.free_ns, step)


def test_a_delay_is_in_the_queue_before_the_calls_own_work(asked: DelayFile, events: Path) -> None:
    behind_ns: list[int] = []
    asked.put("runner.forward", ON_DEVICE, MS, phase=7)
    for step in range(3):
        forward(step, lambda: behind_ns.append(PretendEvent.device.horizon() - _recorder.now()))
    assert all(0.5 * MS < each_ns <= MS for each_ns in behind_ns)
    assert numbers(events, layout.DELAYED) == [[CODES["runner.forward"], 7, MS]] * 2
    assert not any(records(events)["site"] == CODES["delay"])  # the host's thread was not held up


def test_a_call_that_is_no_steps_is_not_delayed(asked: DelayFile, events: Path) -> None:
    asked.put("runner.forward", ON_DEVICE, MS, phase=1)
    forward(-1)
    assert PretendEvent.device.free_ns == 0


def test_where_nothing_can_be_put_on_a_device_all_else_goes_on(
    asked: DelayFile, events: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recorder, "_state", {"missing": []})
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=SimpleNamespace()))
    bodies: list[int] = []
    asked.put("runner.forward", ON_DEVICE, MS, phase=1)
    for step in range(2):
        forward(step, lambda: bodies.append(1))
    assert bodies == [1, 1] and numbers(events, layout.DELAYED) == []
    assert capsys.readouterr().err.count("delays on the device (AttributeError") == 1
