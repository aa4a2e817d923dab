"""The pretend device: an in-order queue as a clock, with torch's event interface, and the work of each kind of step."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from probes.errors import EnginescopeError
from tests.needs import needs_torch, needs_vllm
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown import findings
from tracing.shapes.pretend.device import PretendDevice, PretendEvent
from tracing.shapes.pretend.truth import DeviceWait, StepTruth, TruthFiles, read_truth
from tracing.shapes.pretend.work import Work, kind_of, parse_work, work_of

MS = 1_000_000


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0

    def clock(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def event(time: FakeTime) -> type[PretendEvent]:
    """The events of a device of the test's own."""

    class Event(PretendEvent):
        device = PretendDevice(time.clock, time.sleep)

    return Event


def test_work_ends_at_the_later_of_now_and_free_plus_its_length(time: FakeTime) -> None:
    device = PretendDevice(time.clock, time.sleep)
    assert device.give(10 * MS) == (0, 10 * MS)
    time.now = 3 * MS  # the device is still busy
    assert device.give(5 * MS) == (10 * MS, 15 * MS)
    time.now = 20 * MS  # it has been idle for 5 ms
    assert device.give(1 * MS) == (20 * MS, 21 * MS)


def test_an_event_comes_when_all_before_it_has_ended(time: FakeTime, event: type[PretendEvent]) -> None:
    event.device.give(4 * MS)
    done = event(enable_timing=True)
    assert done.query()  # as torch has it of an event that nobody recorded
    done.record()
    event.device.give(100 * MS)  # what comes later is nothing to it
    assert not done.query()
    done.synchronize()
    assert time.now == 4 * MS and done.query()


def test_a_wait_is_told_with_the_step_whose_event_it_was(time: FakeTime, event: type[PretendEvent]) -> None:
    waits: list[tuple[int, int, int]] = []
    event.device.on_wait = lambda *wait: waits.append(wait)
    event.device.step = 7
    event.device.give(4 * MS)
    done = event()
    done.record()
    event.device.step, time.now = 8, 1 * MS
    done.synchronize()
    done.synchronize()  # it has come: nobody waits
    assert waits == [(7, 1 * MS, 4 * MS)]


def test_the_time_between_events_is_the_devices_not_the_hosts(time: FakeTime, event: type[PretendEvent]) -> None:
    begin, end = event(), event()
    begin.record()
    event.device.give(7 * MS)
    end.record()
    with pytest.raises(RuntimeError, match="completed"):
        begin.elapsed_time(end)
    time.now = 50 * MS
    assert begin.elapsed_time(end) == 7.0
    with pytest.raises(RuntimeError, match="recorded"):
        begin.elapsed_time(event())


@needs_torch
def test_the_events_have_what_torchs_have() -> None:
    import torch

    public = {"record", "query", "elapsed_time", "synchronize", "wait"}
    assert public <= {name for name in dir(torch.cuda.Event)} & {name for name in dir(PretendEvent)}


@dataclass
class Scheduled:
    num_scheduled_tokens: dict[str, int]
    scheduled_spec_decode_tokens: dict[str, list[int]] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("scheduled", "kind"),
    [
        (Scheduled({"a": 30, "b": 12}), "prefill"),
        (Scheduled({"a": 1, "b": 12}), "mixed"),
        (Scheduled({"a": 1, "b": 1}), "decode"),
        (Scheduled({"a": 4}, {"a": [7, 8, 9]}), "decode"),  # a token, and three that were drafted
    ],
)
def test_the_kind_of_a_step(scheduled: Scheduled, kind: str) -> None:
    assert kind_of(scheduled) == kind


def test_work_is_set_by_kind_and_drawn_by_step() -> None:
    work = parse_work("40,20,10", seed=3)
    assert work == Work(40, 20, 10, seed=3) and parse_work("5") == Work(5, 5, 5)
    forward, sampling = work.draw("prefill", 7)
    assert (forward, sampling) == work_of(work.as_variable()).draw("prefill", 7)
    assert 36 * MS <= forward + sampling <= 44 * MS and round((forward + sampling) / 10) == sampling
    assert work.draw("prefill", 8) != (forward, sampling) != Work(40, 20, 10, seed=4).draw("prefill", 7)


@pytest.mark.parametrize("text", ["", "soon", "1,2", "0", "-4", "1,2,3,4", "nan"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(EnginescopeError, match="--device-ms takes"):
        parse_work(text)


CHANGED = """
from tracing.shapes.pretend import worker
from tracing.shapes.pretend.work import Work
worker.give_steps(Work(1, 1, 1), runner_v2=False)
import torch, vllm.v1.worker.cpu_worker
print(torch.cuda.Event.__name__)
"""


@needs_vllm
def test_a_worker_that_is_imported_later_still_waits_for_the_device() -> None:
    """Its own module has an event that waits for nothing."""
    ended = subprocess.run([sys.executable, "-c", CHANGED], capture_output=True, text=True)
    assert ended.stdout.splitlines()[-1:] == ["PretendEvent"], ended.stderr


def test_truth_is_read_as_it_was_written(tmp_path: Path) -> None:
    step = StepTruth(3, "decode", 8, 10, 12, 30, 17, -1)
    files = TruthFiles(tmp_path, 41)
    files.write(step)
    files.write(DeviceWait(3, 15, 30))
    assert read_truth(tmp_path, StepTruth) == {41: [step]} and read_truth(tmp_path, DeviceWait) == {
        41: [DeviceWait(3, 15, 30)]
    }
    (tmp_path / "device-steps-41.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(EnginescopeError, match=r"device-steps-41.jsonl: no key"):
        read_truth(tmp_path, StepTruth)


def test_a_pipelines_bubble_is_the_second_devices_idle_time(tmp_path: Path, time: FakeTime) -> None:
    """Two stages, one batch at a time: each device works 10 ms of 20, and the second stage waits for the first."""
    first, second = (PretendDevice(time.clock, time.sleep) for _ in range(2))
    core = TraceWriter(tmp_path, 11, ["core"])
    workers = {device: TraceWriter(tmp_path, pid, ["worker"], parent=11) for pid, device in ((12, first), (13, second))}
    truth = {device: 0 for device in workers}
    for step in range(4):
        begun = time.now
        core.span("scheduler.schedule", begun, begun + MS // 100, step=step).counts(step, {"decode_requests": 1})
        for device, worker in workers.items():
            asked = begun + MS // 50  # both were given the step at once
            if device is second:
                worker.span("pipeline.wait", asked, time.now, step=step)
            start, end = device.give(10 * MS)
            truth[device] += end - start
            worker.span("worker.execute", asked, time.now + MS // 10, step=step).device(step, start, end)
            device.wait_until(end, step)
        core.span("executor.wait", begun + MS // 100, time.now, step=step)
        core.span("scheduler.update", time.now, time.now + MS // 100, step=step)
    for writer in (core, *workers.values()):
        writer.close(device="pretend")
    devices = [row for row in findings.analyze(timeline.read(tmp_path)).review.devices if row.kind == "all"]
    for row, busy_ns in zip(devices, truth.values(), strict=True):
        assert row.busy_ns == row.busy_least_ns == pytest.approx(busy_ns * 3 / 4, rel=0.02)  # the last has no period
        assert row.idle_ns == pytest.approx(row.window_ns / 2, rel=0.02)
    assert [row.causes[0].cause for row in devices] == ["wait: worker", "wait: pipeline"]
