"""The walk tells a request's places in order, folds what repeats, and shows the source once."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from probes.errors import EnginescopeError
from tests.needs import needs_vllm
from tests.tracing.stories import batch
from tests.tracing.traces import TraceWriter
from tracing import timeline, walk
from tracing.source.definitions import Place
from tracing.source.excerpt import excerpt
from tracing.source.tree import SourceTree

ROOT = Path(__file__).resolve().parents[2]
STEPS = 6


def flow(**other: Any) -> Any:
    told = {
        "request": "0-ab",
        "external": "0",
        "parent": None,
        "front_pid": 10,
        "core_pid": 11,
        "start_ns": 100,
        "end_ns": 10_000,
        "state": "finished",
        "is_whole": True,
        "prompt_tokens": 4,
        "output_tokens": STEPS,
        "delivered_tokens": STEPS,
        "steps": np.arange(STEPS),
        "latency_ns": 9_900,
        "keys": 10**9 + np.arange(STEPS),
        "names": ("0-ab", "0"),
        "call": 0,
    }
    return SimpleNamespace(**(told | other))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    front = TraceWriter(tmp_path, 10, ["front end"])
    front.span("llm.generate", 90, 10_000).span("llm.add_request", 100, 200, "0").span("client.send", 150, 190, "0-ab")
    core = TraceWriter(tmp_path, 11, ["core"], parent=10)
    core.span("core.add_request", 300, 350, "0-ab")
    for step in range(STEPS):
        at = 1000 + 1000 * step
        core.span("scheduler.schedule", at, at + 100, step=step).span(
            "kv.allocate", at + 10, at + 20, "0-ab", step=step
        )
        core.span("kv.allocate", at + 30, at + 40, "another", step=step).batch(step, {"0-ab": 1, "another": 1})
        core.counts(step, {"decode_requests": 2})
        core.span("scheduler.update", at + 800, at + 900, step=step).message(step, 10**9 + step)
        front.span("output.process", at + 950, at + 990, step=10**9 + step)
        for number in range(3):
            begin = at + 951 + number
            front.span("output.detokenize", begin, begin + 1, step=10**9 + step)
    front.close()
    core.close()
    return tmp_path


def test_chapters_in_order_with_like_steps_folded(folder: Path) -> None:
    chapters = list(walk.chapters(timeline.read(folder), flow()))
    assert [title for title, _ in chapters] == [
        "the way in",
        "the first step: prefill",
        "the next step: decode",
        "4 more steps like that, 0.00 ms each at the median",
        "the way out",
    ]
    way_in = [stop.site for stop in chapters[0][1]]
    assert way_in == ["llm.add_request", "client.send", "core.add_request"]
    first = chapters[1][1]
    assert [stop.site for stop in first] == [
        *("scheduler.schedule", "kv.allocate", "scheduler.update", "output.process", "output.detokenize"),
    ]
    assert first[-1].times == 3 and first[-1].ns == 3
    assert chapters[3][1] == []


@needs_vllm
def test_the_source_is_shown_where_a_place_is_passed_first(folder: Path) -> None:
    out = io.StringIO()
    console = Console(file=out, width=160, highlight=False)
    walk.walk(timeline.read(folder), flow(), SourceTree.find(), console)
    text = out.getvalue()
    assert text.count("def schedule(self") == 1
    assert "vllm/v1/core/sched/scheduler.py:" in text and "detokenize x3" in text
    assert "request 0-ab: finished, 4 prompt tokens, 6 generated" in text


@needs_vllm
@pytest.mark.parametrize("width", [50, 80, 160])
def test_a_walk_fits_the_width_and_no_line_ends_in_a_space(folder: Path, width: int) -> None:
    out = io.StringIO()
    walk.walk(timeline.read(folder), flow(), SourceTree.find(), Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width and not [line for line in lines if line.endswith(" ")]
    place = next(line for line in lines if "vllm/v1/core/sched/scheduler.py:" in line)
    assert place.startswith("     vllm" if width == 50 else " " if width == 80 else "  4  +"), place


@needs_vllm
def test_a_walk_to_a_full_disk_is_one_line(tmp_path: Path) -> None:
    batch(tmp_path, finished=("0",))
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "tracing.walk", str(tmp_path)]
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr == "error: cannot write the output: No space left on device\n"


def test_a_request_by_id_by_length_or_not_at_all() -> None:
    flows = [flow(), flow(request="1-cd", external="1", latency_ns=5), flow(request="2-ef", external="2", latency_ns=9)]
    assert walk.choose(flows, "1").request == "1-cd"
    assert walk.choose(flows, "2-ef").external == "2"
    assert walk.choose(flows, "median").request == "2-ef"
    assert walk.choose(flows, "slowest").request == "0-ab"
    assert walk.choose(flows, "first").request == "0-ab"
    with pytest.raises(EnginescopeError, match="did you mean '1-cd'"):
        walk.choose(flows, "1-ce")
    with pytest.raises(EnginescopeError, match="no request 'cmpl' in this trace; the first of 3 is '0-ab'"):
        walk.choose(flows, "cmpl")
    with pytest.raises(EnginescopeError, match="no request"):
        walk.choose([], "median")


SOURCE = '''class A:
    @property
    def f(self, a,
          b):
        """What it does.

        At length.
        """
        # Why the next line.
        first = 1
        return first
'''


def test_an_excerpt_leaves_the_docstring_out() -> None:
    place = Place("a.py", 2, 11, "function", ("property",), tuple(SOURCE.splitlines()))
    head, body = excerpt(place)
    assert head == [(3, "    def f(self, a,")]
    assert body == [(9, "        # Why the next line."), (10, "        first = 1"), (11, "        return first")]
