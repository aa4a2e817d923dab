"""How an engine started: each nanosecond of it in one phase of the process that all others waited for."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.needs import installed_vllm, needs_vllm
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown.findings import findings
from tracing.breakdown.starts import EngineStart, Layer, painted, starts
from tracing.events.enginephase import EnginePhase, read_phases
from tracing.hooks.startup import created_ns
from tracing.page.sections import sections
from tracing.page.tables.starts import title
from tracing.sites.check import look_up
from tracing.sites.starting import FILE, START_SITES

SECOND = 1_000_000_000
FRONT_END, CORE, WORKER, SLOWER = 10, 20, 30, 40
# Of two workers, in seconds: the front end waits for the core, and that for the slower worker.
PHASES = (
    ("configuration", FRONT_END, 5, 6),
    ("core_wait", FRONT_END, 7, 20),
    ("executor", CORE, 11, 18),
    ("load_weights", WORKER, 15, 16),
    ("device", SLOWER, 15.5, 16),
    ("load_weights", SLOWER, 16, 17.5),
    ("profile", CORE, 18, 19),
    ("worker_profile", SLOWER, 18.25, 18.75),
)
CREATED = {FRONT_END: (0, 4), CORE: (8, 10), WORKER: (12, 14), SLOWER: (12, 15)}  # made, and its imports done


def recorded(folder: Path, phases: tuple[tuple[str, int, float, float], ...] = PHASES) -> Path:
    """A folder with the start of one engine of two workers, or of the processes of other `phases`."""
    roles = {FRONT_END: (1, "front end"), CORE: (FRONT_END, "core"), WORKER: (CORE, "worker"), SLOWER: (CORE, "worker")}
    for pid in dict.fromkeys(phase[1] for phase in phases):
        parent, role = roles[pid]
        made, imported = CREATED[pid]
        process = TraceWriter(folder, pid, [role], parent).span("gc", 30 * SECOND, 31 * SECOND)
        process.close(created_ns=made * SECOND, started_ns=imported * SECOND)
    lines = (
        {"phase": name, "pid": pid, "start_ns": int(start * SECOND), "end_ns": int(end * SECOND)}
        for name, pid, start, end in phases
    )
    (folder / FILE).write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"phase": "torn')
    return folder


def seconds(start: EngineStart) -> dict[tuple[str, str], float]:
    return {(part.role, part.stage): part.ns / SECOND for part in start.parts}


def test_time_goes_to_whom_all_wait_for(tmp_path: Path) -> None:
    [start] = starts(timeline.read(recorded(tmp_path)))
    assert not any(" engines: " in line for line in findings(tmp_path).review.problems)
    assert (start.core_pid, start.workers, start.start_ns, start.ns) == (CORE, 2, 0, 20 * SECOND)
    assert seconds(start) == {
        ("front end", "import"): 4,
        ("front end", "other"): 2,
        ("front end", "configuration"): 1,
        ("front end", "wait: core"): 1,
        ("core", "import"): 2,
        ("core", "other"): 2,
        ("core", "executor"): 1.5,
        ("worker", "import"): 3,
        ("worker", "other"): 0.5,
        ("worker", "device"): 0.5,
        ("worker", "weights"): 1.5,
        ("core", "memory profile"): 0.5,
        ("worker", "memory profile"): 0.5,
    }


def test_the_first_step_is_the_first_with_tokens_once_the_engine_is_ready(tmp_path: Path) -> None:
    folder = recorded(tmp_path)
    core = TraceWriter(folder, CORE, ["core"], FRONT_END)
    for step, (at, tokens) in enumerate(((19, 1), (21, 0), (22, 7), (24, 1))):
        core.span("scheduler.schedule", at * SECOND, at * SECOND + 5, step=step, value=tokens)
        core.span("scheduler.update", (at + 1) * SECOND, (at + 1) * SECOND + 7, step=step)
    core.close(created_ns=8 * SECOND, started_ns=10 * SECOND)
    [start] = starts(timeline.read(folder))
    assert start.first_step_ns == SECOND + 7
    assert "20.0 s until it was ready, then 1.00 s for the first step" in title(start)


def test_a_program_with_two_engines_in_its_own_process(tmp_path: Path) -> None:
    """Each has its start; their steps nothing tells apart, which the review says."""
    first = (("configuration", FRONT_END, 5, 6), ("executor", FRONT_END, 6, 9), ("load_weights", FRONT_END, 7, 8))
    second = tuple((name, pid, start + 20, end + 20) for name, pid, start, end in first)
    both = starts(timeline.read(recorded(tmp_path, (*first, *second))))
    assert f"process {FRONT_END} ran 2 engines: " in findings(tmp_path).review.problems[0]
    assert [(start.start_ns / SECOND, start.ns / SECOND, start.workers) for start in both] == [(0, 9, 1), (25, 4, 1)]
    assert seconds(both[1]) == {("front end", "configuration"): 1, ("core", "executor"): 2, ("worker", "weights"): 1}


def test_what_another_version_says_of_a_phase_besides_is_left_out(tmp_path: Path) -> None:
    passed = {"phase": "device", "pid": WORKER, "start_ns": 1, "end_ns": 3}
    (tmp_path / FILE).write_text(json.dumps(passed | {"rank": 0}) + "\n")
    assert read_phases(tmp_path) == [EnginePhase("device", WORKER, 1, 3)]


def test_a_trace_of_several_machines_does_not_tell_its_start(tmp_path: Path) -> None:
    read = timeline.read(recorded(tmp_path))
    boots = [replace(process, boot_id=str(process.pid)) for process in read.processes]
    assert starts(replace(read, processes=boots)) == ()


def test_a_trace_without_its_start(tmp_path: Path) -> None:
    TraceWriter(tmp_path, CORE, ["core"]).span("gc", 1, 2).close()
    read = findings(tmp_path)
    assert read.review.starts == ()
    assert "How the engine started" not in [heading for heading, _, _ in sections(read)]


def test_the_page_draws_all_processes(tmp_path: Path) -> None:
    [drawing] = [html for heading, _, html in sections(findings(recorded(tmp_path))) if heading.startswith("How the")]
    assert drawing.count('class="lane"') == 4
    assert "load_weights (weights), 1,500,000.0 µs" in drawing and "20.0 s until it was ready" in drawing


layers = st.lists(st.tuples(st.sampled_from("abc"), st.integers(-5, 30), st.integers(0, 12)), max_size=8)


@given(layers, st.integers(0, 10), st.integers(0, 15))
def test_every_nanosecond_goes_to_the_last_layer_that_covers_it(
    drawn: list[tuple[str, int, int]], begin: int, length: int
) -> None:
    made = [Layer("core", name, start, start + took) for name, start, took in drawn]
    expected: dict[tuple[str, str], int] = {}
    for moment in range(begin, begin + length):
        covering = [layer.stage for layer in made if layer.start_ns <= moment < layer.end_ns]
        place = ("core", covering[-1]) if covering else ("", "other")
        expected[place] = expected.get(place, 0) + 1
    assert painted(made, begin, begin + length) == expected


def test_when_this_process_was_made() -> None:
    by_psutil = psutil.Process().create_time() - time.time() + time.monotonic()
    assert created_ns() / SECOND == pytest.approx(by_psutil, abs=1.1)  # the kernel's boot time is in whole seconds
    assert created_ns() < time.monotonic_ns()


@needs_vllm
def test_installed_vllm_has_every_phase() -> None:
    assert [missing for lookup in look_up(START_SITES, installed_vllm()) for missing in lookup.missing] == []
