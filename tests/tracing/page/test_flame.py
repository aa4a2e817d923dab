"""The flame graph of the page: what is as wide as what, and what lies below what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tracing.pyspy.sampledfolders import PERIOD_NS, sampled_folder
from tracing.page.drawings.flame import flame_graph, sections
from tracing.pyspy import attribution, samples
from tracing.pyspy.stacks import StackTime, stack_times

STACKS = (
    StackTime("core", "schedule", ("run (vllm/a.py)", "schedule (vllm/b.py)"), False, 3_000_000),
    StackTime("core", "schedule", ("run (vllm/a.py)", "schedule (vllm/b.py)", "sort (vllm/<c>.py)"), False, 1_000_000),
    StackTime("core", "wait: worker", ("run (vllm/a.py)", "get (vllm/d.py)"), True, 6_000_000),
    StackTime("worker", "forward", ("run (vllm/w.py)",), False, 5_000_000),
)
BOX = re.compile(r'<g class="(\w+)"[^>]*data-at="([\d.]+) ([\d.]+) ([^"]*)"><title>([^<]*)</title><rect [^>]*y="(\d+)"')


def boxes(svg: str) -> list[tuple[str, float, float, str, int]]:
    """Kind, begin and width in ms, words, and row of each box."""
    found = [match.groups() for match in BOX.finditer(svg)]
    return [(kind, float(at) / 1e3, float(width) / 1e3, words, int(y)) for kind, at, width, words, _, y in found]


def test_a_box_is_as_wide_as_its_time_and_lies_below_its_caller() -> None:
    found = boxes(flame_graph(STACKS))
    first, second = found[0][4], found[-1][4]
    rows = {y: (y - first) // 15 if y < second - 15 else (y - second) // 15 + 1 for *_, y in found}
    assert [(kind, at, width, words, rows[y]) for kind, at, width, words, y in found] == [
        ("wait", 0, 6, "wait: worker", 0),
        ("wait", 0, 6, "run", 1),
        ("wait", 0, 6, "get", 2),
        ("work", 6, 4, "schedule", 0),
        ("work", 6, 4, "run", 1),
        ("work", 6, 4, "schedule", 2),
        ("work", 6, 1, "sort", 3),
        ("work", 0, 5, "forward", 0),
        ("work", 0, 5, "run", 1),
    ]
    assert "sort (vllm/&lt;c&gt;.py), 1.00 ms, 10.0% of the core" in flame_graph(STACKS)


def test_without_samples_there_is_no_graph() -> None:
    assert sections(()) == []


def test_stacks_begin_where_vllm_does(tmp_path: Path) -> None:
    outside = ("<module>", "/home/x/run.py", 1)
    core = ("EngineCore.step", "/lib/site-packages/vllm/v1/engine/core.py", 12)
    schedule = ("Scheduler.schedule", "/lib/site-packages/vllm/v1/core/sched/scheduler.py", 5)
    loop = ("EngineCoreProc.run_engine_core", "/lib/site-packages/vllm/v1/engine/core.py", 9)
    stack = (outside, loop, core, schedule)
    sampled_folder(tmp_path, {(11, 11, "MainThread"): [stack] * 5}, beacon=True)
    read = samples.read(tmp_path)
    [found] = stack_times(read, attribution.attributed(read, None))
    assert (found.role, found.stage, found.is_waiting) == ("core", "schedule", False)
    assert found.functions == (
        "EngineCoreProc.run_engine_core (vllm/v1/engine/core.py)",
        "EngineCore.step (vllm/v1/engine/core.py)",
        "Scheduler.schedule (vllm/v1/core/sched/scheduler.py)",
    )
    assert found.ns == pytest.approx(5 * PERIOD_NS, rel=0.3)
