"""The step log around a scheduler of a few lines: what it counts, what it survives, and what it costs when off."""

from __future__ import annotations

import gc
import itertools
import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from enginescope_plugin import STEP_LOG
from tests.tracing.hooks.schedulers import Output, Scheduler
from tracing.events import steplog as events_steplog
from tracing.events.enginephase import EnginePhase, read_phases
from tracing.events.step import GC_PAUSE, STEP, Step
from tracing.events.steplog import HookProof, StepLog
from tracing.hooks import install, startup, steplog
from tracing.hooks.scheduling.counts import scheduled
from tracing.hooks.steplog import StepLogWriter
from tracing.sites.site import Site

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def no_leaks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither a writer nor a collector's callback outlives a test, and no real collection falls into one."""
    callbacks = gc.callbacks.copy()
    monkeypatch.setattr(steplog, "_writer", None)
    monkeypatch.setattr(steplog, "_broken", False)
    for module in (steplog, events_steplog):
        monkeypatch.setattr(module, "CAPACITY", 16)
    gc.disable()
    yield
    gc.callbacks[:] = callbacks
    gc.enable()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that says 100, 200, 300, …"""
    ticks = itertools.count(100, 100)
    for module in (steplog, startup):
        monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic_ns=lambda: next(ticks)))


def hooked(folder: Path) -> type[Scheduler]:
    """A scheduler's class with the hooks on it."""

    class Hooked(Scheduler):
        schedule = steplog.step_wrapper("schedule", str(folder))(Scheduler.schedule)
        update_from_output = steplog.step_wrapper("update_from_output", str(folder))(Scheduler.update_from_output)

    return Hooked


def read(folder: Path, mark: dict[str, int] | None = None) -> list[Step]:
    steps, lost = StepLog(folder).since(mark or {})
    assert lost == 0
    return steps


PREFILL = Output({"a": 8, "b": 5})
MIXED = Output({"a": 1, "c": 7}, {"a": 1})
DECODES = Output({"a": 1, "c": 1}, {"a": 2, "c": 1})


def test_three_steps(tmp_path: Path, clock: None) -> None:
    scheduler = hooked(tmp_path)(PREFILL, MIXED, DECODES, waiting=2)
    for _ in range(3):
        output = scheduler.schedule()
        assert scheduler.update_from_output(output, result=7) == (output, 7)
    shared = {"kind": STEP, "waiting": 2, "preempted": 0, "kv_used_blocks": 3}
    assert read(tmp_path) == [
        Step(
            **shared | {"start_ns": 100, "end_ns": 200, "prefill_requests": 2, "prefill_tokens": 13},
            **{"decode_requests": 0, "decode_tokens": 0, "first_decodes": 0},
        ),
        Step(
            **shared | {"start_ns": 300, "end_ns": 400, "prefill_requests": 1, "prefill_tokens": 7},
            **{"decode_requests": 1, "decode_tokens": 1, "first_decodes": 1},
        ),
        Step(
            **shared | {"start_ns": 500, "end_ns": 600, "prefill_requests": 0, "prefill_tokens": 0},
            **{"decode_requests": 2, "decode_tokens": 2, "first_decodes": 1},
        ),
    ]


def test_the_reader_gives_what_came_after_a_mark(tmp_path: Path, clock: None) -> None:
    scheduler = hooked(tmp_path)(PREFILL, DECODES)
    assert StepLog(tmp_path).mark() == {}
    scheduler.update_from_output(scheduler.schedule())
    mark = StepLog(tmp_path).mark()
    assert mark == {f"steps-{os.getpid()}.bin": 1}
    scheduler.update_from_output(scheduler.schedule())
    assert [step.start_ns for step in read(tmp_path, mark)] == [300]
    assert [step.start_ns for step in read(tmp_path)] == [100, 300]


@pytest.mark.parametrize(
    ("output", "counts"),
    [
        # prefill requests and tokens, decode requests and tokens, waiting, preempted, used blocks, first decodes
        (Output({}), (0, 0, 0, 0, 1, 0, 3, 0)),
        (Output({"a": 9}), (1, 9, 0, 0, 1, 0, 3, 0)),
        (Output({"a": 4}, {"a": 0}), (1, 4, 0, 0, 1, 0, 3, 0)),  # a later chunk of a long prompt
        (Output({"a": 1}, {"a": 1}), (0, 0, 1, 1, 1, 0, 3, 1)),
        (Output({"a": 4}, {"a": 7}), (0, 0, 1, 4, 1, 0, 3, 0)),  # speculative: four tokens in one decode
        (Output({"a": 12, "b": 1}, {"a": 3, "b": 3}, resumed=("a",)), (1, 12, 1, 1, 1, 0, 3, 0)),
        (Output({"b": 1}, {"b": 3}, preempted={"a", "c"}), (0, 0, 1, 1, 1, 2, 3, 0)),
        (Output({"n": 5, "a": 4, "b": 1}, {"a": 0, "b": 9}), (2, 9, 1, 1, 1, 0, 3, 0)),
    ],
)
def test_what_a_step_counts(output: Output, counts: tuple[int, ...]) -> None:
    cached = output.scheduled_cached_reqs
    begun = {name for name, count in zip(cached.req_ids, cached.num_output_tokens, strict=True) if count < 2}
    assert scheduled(Scheduler(waiting=1), output, begun) == counts


def test_requests_await_their_first_decode_from_step_to_step() -> None:
    """`a` is prefilled in two chunks; `b` ends before it decodes; a step of decodes is told without a look at each."""
    awaiting: set[str] = set()
    assert scheduled(Scheduler(), Output({"a": 8, "b": 2}), awaiting)[0] == 2
    assert awaiting == {"a", "b"}
    later = Output({"a": 4}, {"a": 0})
    later.finished_req_ids = {"b"}
    assert scheduled(Scheduler(), later, awaiting)[:2] == (1, 4)
    assert awaiting == {"a"}
    assert scheduled(Scheduler(), Output({"a": 1}, {"a": 1}), awaiting)[-1] == 1
    assert awaiting == set()
    assert scheduled(Scheduler(), Output({"a": 1}, {"a": 2}), awaiting)[-1] == 0


def test_a_resumed_request_with_one_token_is_not_in_its_first_decode() -> None:
    assert scheduled(Scheduler(), Output({"a": 9}, {"a": 1}, resumed=("a",)), {"a"}) == (1, 9, 0, 0, 0, 0, 3, 0)


def test_two_steps_in_flight_end_in_the_order_in_which_they_began(tmp_path: Path, clock: None) -> None:
    scheduler = hooked(tmp_path)(PREFILL, DECODES)
    first, second = scheduler.schedule(), scheduler.schedule()
    scheduler.update_from_output(first)
    scheduler.update_from_output(second)
    assert [(s.start_ns, s.end_ns, s.prefill_requests, s.decode_requests) for s in read(tmp_path)] == [
        (100, 300, 2, 0),
        (200, 400, 0, 2),
    ]


def test_an_error_of_the_engine_stays_the_engines(tmp_path: Path) -> None:
    scheduler = hooked(tmp_path)()
    with pytest.raises(IndexError, match="pop from empty list"):
        scheduler.schedule()
    assert StepLog(tmp_path).mark() == {}


def test_an_error_of_the_hook_stops_the_log_and_nothing_else(
    tmp_path: Path, clock: None, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = object()  # a scheduler output of some later version
    scheduler = hooked(tmp_path)(PREFILL, strange, DECODES)
    for expected in (PREFILL, strange, DECODES):
        output = scheduler.schedule()
        assert output is expected
        assert scheduler.update_from_output(output) == (output, "result")
    assert [step.start_ns for step in read(tmp_path)] == [100]
    assert capsys.readouterr().err == (
        "enginescope: the step log stopped: AttributeError: 'object' object has no attribute 'num_scheduled_tokens'\n"
    )


def test_a_log_that_cannot_be_made_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scheduler = hooked(tmp_path / "gone")(PREFILL, MIXED, DECODES)
    for expected in (PREFILL, MIXED, DECODES):
        assert scheduler.schedule() is expected
        assert scheduler.update_from_output(expected) == (expected, "result")
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("enginescope: the step log stopped: FileNotFoundError")


def numbered(writer: StepLogWriter, numbers: range) -> None:
    for number in numbers:
        writer.append(STEP, number, number, *[0] * 8)


def test_a_record_that_was_overwritten_is_counted_as_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (steplog, events_steplog):
        monkeypatch.setattr(module, "CAPACITY", 4)
    writer = StepLogWriter(str(tmp_path))
    numbered(writer, range(3))
    mark = StepLog(tmp_path).mark()
    numbered(writer, range(3, 7))
    assert [step.start_ns for step in read(tmp_path, mark)] == [3, 4, 5, 6]
    numbered(writer, range(7, 10))
    steps, lost = StepLog(tmp_path).since(mark)
    assert ([step.start_ns for step in steps], lost) == ([6, 7, 8, 9], 3)


def test_a_log_cut_short_or_foreign_is_empty(tmp_path: Path) -> None:
    (tmp_path / "steps-1.bin").write_bytes(b"ESSTEP01")
    (tmp_path / "steps-2.bin").write_bytes(b"another file entirely, of some length")
    assert StepLog(tmp_path).mark() == {"steps-1.bin": 0, "steps-2.bin": 0}
    assert StepLog(tmp_path).since({}) == ([], 0)


def test_a_long_pause_of_the_collector_is_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, now = StepLogWriter(str(tmp_path)), iter([1_000, 101_000, 500_000, 500_010])
    monkeypatch.setattr(steplog, "time", types.SimpleNamespace(monotonic_ns=lambda: next(now)))
    for phase in ("start", "stop", "start", "stop"):  # the second one is too short to matter
        writer._on_gc(phase, {"generation": 2})
    numbered(writer, range(200_000, 200_001))
    assert [(step.kind, step.start_ns, step.end_ns, step.waiting) for step in read(tmp_path)] == [
        (GC_PAUSE, 1_000, 101_000, 2),
        (STEP, 200_000, 200_000, 0),
    ]


def test_a_collection_in_the_middle_of_a_record_spoils_none(tmp_path: Path) -> None:
    """The core's other threads allocate too: a collection may begin and end while a record is half written."""
    writer = StepLogWriter(str(tmp_path))

    class Interrupted:
        def __index__(self) -> int:
            writer._on_gc("start", {"generation": 2})
            writer._gc_start -= steplog.GC_FLOOR_NS
            writer._on_gc("stop", {"generation": 2})
            return 5

    whole = range(1, 9)
    writer.append(STEP, 10, Interrupted(), *whole)  # type: ignore[arg-type]
    writer.append(STEP, 20, 25, *whole)
    steps = read(tmp_path)
    assert [step for step in steps if step.kind == STEP] == [Step(STEP, 10, 5, *whole), Step(STEP, 20, 25, *whole)]
    assert [step.waiting for step in steps if step.kind == GC_PAUSE] == [2]


def test_hooks_are_proven_and_set_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType("some_engine")
    module.Scheduler = type("Scheduler", (Scheduler,), {"schedule": Scheduler.schedule})
    monkeypatch.setitem(sys.modules, "some_engine", module)
    sites = [("some_engine", "Scheduler", "schedule"), ("some_engine", "Scheduler", "no_such_method")]
    monkeypatch.setattr(install, "STEP_SITES", (*sites, ("no_such_module", "Scheduler", "schedule")))
    start_site = Site("executor", "executor", "core", ("some_engine:NoSuchClass.__init__",))
    monkeypatch.setattr(install, "START_SITES", (start_site,))
    install.install_step_log(str(tmp_path))
    once = module.Scheduler.schedule
    install.install_step_log(str(tmp_path))
    assert module.Scheduler.schedule is once and once.__name__ == "schedule"
    [proof] = StepLog(tmp_path).proof()
    assert replace(proof, plugin_ns=0) == HookProof(
        os.getpid(),
        hooked=("some_engine.Scheduler.schedule",),
        missing=(
            *("some_engine.Scheduler.no_such_method", "no_such_module.Scheduler.schedule"),
            "some_engine.NoSuchClass.__init__",
        ),
        plugin_ns=0,
    )
    assert not proof.has_steps
    scheduler = module.Scheduler(PREFILL)
    assert scheduler.schedule() is PREFILL


def test_start_up_phases(tmp_path: Path, clock: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_phases(tmp_path) == []
    timed = startup.start_wrapper("profile", str(tmp_path))(lambda self, given: given + 1)
    assert timed(None, 1) == 2
    weights = types.SimpleNamespace(numel=lambda: 10, element_size=lambda: 4)
    worker = types.SimpleNamespace(get_model=lambda: types.SimpleNamespace(parameters=lambda: [weights, weights]))
    facts = startup.WORKER_FACTS["load_weights"]
    startup.start_wrapper("load_weights", str(tmp_path), facts)(lambda self: None)(worker)
    assert read_phases(tmp_path) == [
        EnginePhase("profile", os.getpid(), 100, 200),
        EnginePhase("load_weights", os.getpid(), 300, 400, weights_bytes=80),
    ]
    assert startup.start_wrapper("load_weights", str(tmp_path), facts)(lambda self: "loaded")(None) == "loaded"
    assert capsys.readouterr().err.startswith("enginescope: start-up phase load_weights not recorded: 'NoneType'")


PROBE = """
import json, sys
import enginescope_plugin as plugin
before = set(sys.modules)
plugin.load()
heavy = [name for name in ("enginescope_inside_vllm", "mmap", "json.tool", "vllm", "pathlib") if name in sys.modules]
print(json.dumps([sorted(set(sys.modules) - before), heavy]))
"""


def test_without_the_variable_the_plugin_imports_nothing() -> None:
    environment = {name: value for name, value in os.environ.items() if name != STEP_LOG}
    for variable in ({}, {STEP_LOG: ""}):
        # -S: without `site`, which imports on its own account
        command = [sys.executable, "-S", "-c", PROBE]
        done = subprocess.run(command, cwd=ROOT, env=environment | variable, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == [[], []]
