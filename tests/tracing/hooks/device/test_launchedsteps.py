"""Which of a step's work the hooks give to the timer of a device, as pieces of which step."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tracing.hooks.device.inorderdevice import MS, Device, Event, by_clock
from tests.tracing.hooks.eventrecords import numbers, pieces_of, records
from tracing.events import layout
from tracing.hooks import _recorder, recorder
from tracing.hooks.device import launches
from tracing.hooks.wrappers import steps, table
from tracing.sites.engine import ALL_SITES, CODES


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


def test_a_dummy_batch_is_a_piece_of_no_step(device: Device, file: Path) -> None:
    """An engine that keeps step with others runs it; it begins on the device when the model is launched."""
    model = launches.begun(lambda: device.work(3 * MS))

    def run(worker: None) -> None:
        device.now += 2 * MS
        model()

    run_steps(2, device)
    for _ in range(2):
        hooked("worker.dummy", run)(None)
        device.now += 10 * MS
    launches.launches.read()
    pieces = pieces_of(file)
    assert [piece.step for piece in pieces] == [0, 1, -1, -1]
    for piece, (begin, end) in zip(pieces[2:], device.busy[-2:], strict=True):
        assert (piece.begin_ns, piece.end_ns) == pytest.approx((begin, end), abs=5_000)


@pytest.mark.parametrize("site", ["graph.run", None])
def test_the_waiting_before_a_graph_is_no_work_of_a_dummy_batch(site: str | None, device: Device, file: Path) -> None:
    """Model Runner V1 replays a whole graph without a call that is hooked, V2 with one."""
    agree = hooked("ranks.agree", lambda: setattr(device, "now", device.now + 20 * MS))
    replay = hooked(site, lambda: device.work(3 * MS)) if site else lambda: device.work(3 * MS)

    def run(worker: None) -> None:
        agree()
        replay()

    run_steps(1, device)
    hooked("worker.dummy", run)(None)
    device.now += 10 * MS
    launches.launches.read()
    last, (begin, end) = pieces_of(file)[-1], device.busy[-1]
    assert (last.begin_ns, last.end_ns) == pytest.approx((begin, end), abs=5_000)


def test_dummy_batches_are_read_though_nothing_waits_for_them(device: Device, file: Path) -> None:
    run_steps(1, device)
    for _ in range(8):
        hooked("worker.dummy", lambda worker: device.work(3 * MS))(None)
        device.now += 10 * MS
    assert [piece.step for piece in pieces_of(file)] == [0, *[-1] * 7]


def test_a_dummy_batch_that_fails_ends_too(device: Device, file: Path) -> None:
    """What the worker runs outside of any step after it is no piece."""

    def fail(worker: None) -> None:
        raise RuntimeError("out of memory")

    model = launches.begun(lambda: device.work(3 * MS))
    run_steps(1, device)
    with pytest.raises(RuntimeError):
        hooked("worker.dummy", fail)(None)
    for _ in range(2):
        model()
        device.now += 50 * MS
    launches.launches.read()
    assert all(piece.end_ns - piece.begin_ns < 10 * MS for piece in pieces_of(file))


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


def test_a_piece_is_of_the_step_that_launched_it_though_another_begins_meanwhile(
    device: Device, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's own event may let another thread run while it is put."""

    def begin() -> None:
        _recorder.set_step(9)
        launches.launches.begin()

    class Yielding(Event):
        def record(self, stream: object) -> None:
            super().record(stream)
            if _recorder.step() == 1:
                other = threading.Thread(target=begin)
                other.start()
                other.join()

    monkeypatch.setattr(device, "event", lambda: Yielding(device))
    run_steps(2, device)
    assert [piece.step for piece in pieces_of(file)] == [0, 1]
