"""A span's step is the number on the object that it is about, whatever else calls the same functions."""

from __future__ import annotations

import pickle
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.tracing.hooks.eventrecords import spans, written
from tests.tracing.hooks.schedulers import Output, Scheduler
from tracing.hooks import recorder
from tracing.hooks.wrappers import steps, table
from tracing.sites.engine import ALL_SITES, CODES


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(steps, "steps", steps.Steps())
    monkeypatch.setattr(steps, "handed_over", steps.HandedOver())
    with written(most=1 << 17) as path:
        yield path


def hooked(site: str, function: Any) -> Any:
    return table.wrapper_of(ALL_SITES[CODES[site]])(function)


def steps_of(file: Path, site: str) -> list[int]:
    return [span["step"] for span in spans(file) if span["site"] == CODES[site]]


class LaterOutput(Future):  # type: ignore[type-arg]
    """vLLM's `FutureWrapper`."""

    result = hooked("executor.wait", lambda self: "tokens")


class Core:
    """The functions of a core that know of steps, with an executor that answers later."""

    def __init__(self, *outputs: Any) -> None:
        self.scheduler = Scheduler(*outputs)

    def _schedule(self) -> Any:
        return self.scheduler.schedule()

    schedule = hooked("scheduler.schedule", lambda self: self._schedule())
    dispatch = hooked("executor.dispatch", lambda self, output: LaterOutput())
    grammar = hooked("scheduler.grammar", lambda self, output: None)
    sample = hooked("executor.sample", lambda self, grammar: LaterOutput())
    update = hooked("scheduler.update", lambda self, output, result: {})

    @property
    def kv_cache_manager(self) -> Any:
        return self.scheduler.kv_cache_manager

    @property
    def waiting(self) -> list[str]:
        return self.scheduler.waiting


class Worker:
    execute = hooked("worker.execute", lambda self, output: None)
    sample = hooked("worker.sample", lambda self, grammar: "tokens")


def decode() -> Output:
    return Output({"a": 1}, {"a": 1})


def test_a_warm_up_of_the_workers_own_is_no_step_of_the_core(file: Path) -> None:
    """Model Runner V2 calls `execute_model` itself before the first step."""
    core, worker = Core(decode(), decode()), Worker()
    for _ in range(3):
        worker.execute(decode())
        worker.sample(None)
    for _ in range(2):
        worker.execute(pickle.loads(pickle.dumps(core.schedule())))  # as it comes to a worker's own process
        worker.sample(None)
    assert steps_of(file, "scheduler.schedule") == [0, 1]
    assert steps_of(file, "worker.execute") == [-1, -1, -1, 0, 1]
    assert steps_of(file, "worker.sample") == [-1, -1, -1, 0, 1]


def test_with_a_batch_queue_a_wait_is_of_the_step_that_is_waited_for(file: Path) -> None:
    core = Core(*(decode() for _ in range(3)))
    in_flight = []
    for _ in range(3):
        output = core.schedule()
        core.dispatch(output)
        core.grammar(output)
        in_flight.append((output, core.sample(None)))
        if len(in_flight) == 2:
            output, future = in_flight.pop(0)
            core.update(output, future.result())
    assert steps_of(file, "executor.dispatch") == steps_of(file, "executor.sample") == [0, 1, 2]
    assert steps_of(file, "executor.wait") == steps_of(file, "scheduler.update") == [0, 1]


def test_sampling_that_waits_for_the_step_before_is_of_its_own_step(file: Path) -> None:
    """Structured output: step 1 is dispatched, step 0 is updated, and then step 1 is sampled."""
    core, worker = Core(decode(), decode()), Worker()
    first, second = core.schedule(), core.schedule()
    for output in (first, second):
        core.dispatch(output)
        worker.execute(output)
    core.update(first, "tokens")
    core.grammar(second)
    core.sample(None).result()
    worker.sample(None)
    for site in ("scheduler.grammar", "executor.sample", "executor.wait", "worker.sample"):
        assert steps_of(file, site) == [1], site


def test_a_call_that_blocks_waits_for_its_own_step(file: Path) -> None:
    core = Core(decode())
    blocking = hooked("executor.sample", lambda self, grammar: LaterOutput().result())
    core.dispatch(core.schedule())
    assert blocking(core, None) == "tokens"
    assert steps_of(file, "executor.wait") == steps_of(file, "executor.sample") == [0]


class Process:
    """vLLM's `WorkerProc`, whose outputs go through a thread."""

    def __init__(self) -> None:
        self.queue: queue.Queue[Any] = queue.Queue()

    hand_over = hooked("worker.hand_over", lambda self, output: self.queue.put(output))
    reply = hooked("worker.reply", lambda self, output: None)

    def reply_to_all(self) -> None:
        while not self.queue.empty():
            self.reply(self.queue.get())


def test_an_output_keeps_its_step_across_the_output_thread(file: Path) -> None:
    """`execute_model` answers None, which can carry nothing, and `sample_tokens` an output."""
    core, worker, process = Core(*(decode() for _ in range(3))), Worker(), Process()
    process.hand_over("loaded")
    for _ in range(3):
        process.hand_over(worker.execute(core.schedule()))
        process.hand_over(worker.sample(None))
    thread = threading.Thread(target=process.reply_to_all)
    thread.start()
    thread.join()
    assert steps_of(file, "worker.hand_over") == steps_of(file, "worker.reply") == [-1, 0, 0, 1, 1, 2, 2]


class AsyncOutput:
    """An output that is still on the device."""

    get_output = hooked("device.wait", lambda self: "tokens")


class WaitingProcess(Process):
    """vLLM's `WorkerProc`, which waits for the device where it replies."""

    write = hooked("queue.put", lambda self, output: None)
    reply = hooked("worker.reply", lambda self, output: self.write(output.get_output() if output else None))


def test_a_reply_shows_apart_what_it_waits_for_the_device(file: Path) -> None:
    core, worker, process = Core(decode(), decode()), Worker(), WaitingProcess()
    for _ in range(2):
        process.hand_over(worker.execute(core.schedule()))
        worker.sample(None)
        process.hand_over(AsyncOutput())
    process.reply_to_all()
    assert steps_of(file, "device.wait") == [0, 1]
    assert steps_of(file, "queue.put") == [0, 0, 1, 1]
    names = {CODES[name]: name for name in ("device.wait", "queue.put", "worker.reply")}
    inside = [span for span in spans(file) if span["site"] in names and span["step"] == 1][-3:]
    assert [names[span["site"]] for span in inside] == ["device.wait", "queue.put", "worker.reply"]
    wait, put, reply = inside
    assert reply["start"] <= wait["start"] <= wait["end"] <= put["start"] <= put["end"] <= reply["end"]


class DeviceFuture(Future):  # type: ignore[type-arg]
    """vLLM's `AsyncOutputFuture`: the worker is in the core's process."""

    result = hooked("device.wait", lambda self: AsyncOutput().get_output())


def test_in_one_process_the_wait_for_the_device_is_of_the_step_that_is_waited_for(file: Path) -> None:
    core = Core(decode(), decode())
    sample = hooked("executor.sample", lambda self, grammar: DeviceFuture())
    futures = []
    for _ in range(2):
        core.dispatch(core.schedule())
        futures.append(sample(core, None))
    for future in futures:
        future.result()
    assert steps_of(file, "device.wait") == [0, 0, 1, 1]


def test_a_dummy_batch_is_no_step(file: Path) -> None:
    core, worker, process = Core(decode()), Worker(), Process()
    process.hand_over(worker.execute(core.schedule()))
    hooked("executor.dummy", lambda executor: None)(core)
    process.hand_over(hooked("worker.dummy", lambda worker: None)(worker))
    process.reply_to_all()
    assert steps_of(file, "executor.dummy") == steps_of(file, "worker.dummy") == [-1]
    assert steps_of(file, "worker.reply") == [0, -1]


def test_ray_gives_a_worker_the_schedulers_output_with_others(file: Path) -> None:
    core = Core(decode())
    execute = hooked("worker.execute", lambda self, given: "tokens")
    assert execute(None, (core.schedule(), None)) == "tokens"
    assert steps_of(file, "worker.execute") == [0]
    assert [span["value"] for span in spans(file) if span["site"] == CODES["worker.execute"]] == [1]


class Slotted:
    """A scheduler's output of some later version, which takes no attribute."""

    __slots__ = tuple(vars(decode()))

    def __init__(self) -> None:
        for name, value in vars(decode()).items():
            setattr(self, name, value)


def test_an_output_that_takes_no_number_is_said_once(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report: dict[str, Any] = {"missing": []}
    monkeypatch.setattr(recorder, "_state", report)
    core, worker = Core(Slotted(), Slotted()), Worker()
    for _ in range(2):
        output = core.schedule()
        assert isinstance(output, Slotted) and worker.execute(output) is None
        core.update(output, "tokens")
    assert steps_of(file, "worker.execute") == steps_of(file, "scheduler.update") == [-1, -1]
    assert report["missing"] == ["step number (Slotted takes no attribute)"]
    assert capsys.readouterr().err.count("Slotted takes no attribute") == 1
