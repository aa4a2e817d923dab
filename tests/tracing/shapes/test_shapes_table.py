"""The table of shapes: what a recording has to hold to, and what vLLM said where a shape did not run."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd

from probes.machine import fingerprint
from tests.house.test_help import ROOT
from tests.tracing.tracerecords import recorded
from tests.tracing.traces import TraceWriter
from tracing import demo, timeline
from tracing.shapes import table
from tracing.shapes.engine import conversation
from tracing.shapes.shape import SHAPES
from tracing.shapes.verdict import DEMONSTRATION_TOKENS, PARTS, ShapeVerdict, columns_off, token_mismatches
from tracing.timeline.steps.phases import NAMES

RIGHT = ShapeVerdict(
    requests=13,
    whole=13,
    unexplained_share=0.002,
    unexplained_ns_per_token=12_000.0,
    tokens=32.0,
    steps=70,
    step_unexplained_share=0.004,
    columns_off_ns=0,
    negative_hops=0,
    token_mismatches=0,
    processes={"front end": 1, "core": 1, "worker": 2},
    expected_processes={"front end": 1, "core": 1, "worker": 2},
    recorder_share=0.0001,
    unshown=(),
    problems=(),
)


def test_what_has_to_hold() -> None:
    assert RIGHT.holds
    assert not replace(RIGHT, whole=12).holds
    assert not replace(RIGHT, requests=0, whole=0).holds
    assert not replace(RIGHT, unexplained_ns_per_token=60_000.0).holds
    assert replace(RIGHT, unexplained_ns_per_token=None, unexplained_share=0.009).holds  # a vector in place of tokens
    assert not replace(RIGHT, unexplained_ns_per_token=None, unexplained_share=0.01).holds
    assert not replace(RIGHT, unexplained_share=0.01).holds  # as long as the demonstration's
    assert replace(RIGHT, tokens=1.0, unexplained_share=0.02).holds  # short: few microseconds are a large share
    assert not replace(RIGHT, tokens=1.0, unexplained_ns_per_token=60_000.0).holds
    assert not replace(RIGHT, step_unexplained_share=0.04).holds
    assert not replace(RIGHT, step_unexplained_share=None).holds  # no step was recorded
    assert not replace(RIGHT, columns_off_ns=1).holds
    assert not replace(RIGHT, negative_hops=1).holds
    assert not replace(RIGHT, token_mismatches=1).holds
    assert not replace(RIGHT, unshown=("no span of spec.verify",)).holds
    assert not replace(RIGHT, processes={"front end": 2, "core": 1, "worker": 2}).holds  # a coordinator, say


def test_the_share_is_judged_from_the_demonstrations_length_on() -> None:
    assert demo.TOKENS == conversation.TOKENS == DEMONSTRATION_TOKENS


def test_time_that_counts_twice_does_not_add_up() -> None:
    """What is unexplained is the rest of the length: below 0 where an instant is in two columns."""
    steps = pd.DataFrame(0, index=range(2), columns=["start_ns", "end_ns", *PARTS])
    steps["end_ns"], steps["schedule_ns"], steps["model_ns"] = 100, 40, 50
    steps["unexplained_ns"] = steps["end_ns"] - steps[[f"{name}_ns" for name in NAMES]].sum(axis=1)
    assert columns_off(steps) == 0
    steps.loc[1, ["model_ns", "unexplained_ns"]] = 90, -30
    assert columns_off(steps) == 30


def test_the_published_table_says_what_its_shapes_are() -> None:
    page = (ROOT / "notes" / "tables" / "shapes.md").read_text()
    assert re.findall(r"^- `.*", page, re.M) == [table.about_shape(shape) for shape in SHAPES.values()]
    heads, _, *rows = (line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("|"))
    assert tuple(heads) == table.HEADS and [row[0] for row in rows] == list(SHAPES)
    assert {name: " + ".join(map(str, shape.processes.values())) for name, shape in SHAPES.items()} == {
        row[0]: row[1] for row in rows
    }
    assert {row[-1] for row in rows} == {"yes"}
    forked = re.search(r"^(\d+) of these engines were forked", page, re.M)
    made_with = page.rstrip(".\n").rpartition("shapes.md` with ")[2]
    assert page == table.page([tuple(row) for row in rows], int(forked[1]) if forked else 0, made_with)  # all of it


def test_a_row_of_the_table() -> None:
    assert table.cells(RIGHT) == ("1 + 1 + 2", "13 of 13", "12.0 µs (0.20%)", "0.40%", "70 of 70 steps", "0.01%", "yes")
    little = replace(RIGHT, unexplained_share=0.00004, step_unexplained_share=0.0, recorder_share=0.00002)
    assert (*table.cells(little)[2:4], table.cells(little)[5]) == ("12.0 µs (<0.01%)", "0%", "<0.01%")
    wrong = replace(RIGHT, columns_off_ns=1500, token_mismatches=2, recorder_share=None)
    misplaced = replace(RIGHT, processes={"front end": 2, "core": 1, "worker": 2})
    assert table.cells(misplaced)[0] == "2 + 1 + 2 instead of 1 + 1 + 2" and table.cells(misplaced)[-1] == "no"
    unseen = replace(RIGHT, unshown=("no span of spec.propose", "no span of spec.verify"))
    assert table.cells(unseen)[-1] == "no: no span of spec.propose; no span of spec.verify"
    assert table.cells(replace(RIGHT, step_unexplained_share=None))[3] == "n/a"
    assert table.cells(wrong)[4:] == ("off by 1,500 ns at most; other tokens in 2 runs", "not known", "no")


def test_a_shape_that_vllm_refused_is_a_row_with_its_words(tmp_path: Path) -> None:
    (tmp_path / "v2-tp2").mkdir()
    machine = replace(fingerprint(), vllm="0.0.1", cpu_model="A CPU", cores_usable=3)
    recorded(tmp_path / "v2-tp2", exit_code=1, machine=machine)
    reason = "ValueError: not here"
    (tmp_path / "v2-tp2-log.txt").write_text(f"(EngineCore pid=7) ERROR 11-21 03:46:24 [core.py:9] {reason}\n")
    (tmp_path / "tp2").mkdir()
    (tmp_path / "tp2" / "trace.json").write_text("{")
    (tmp_path / "quota").mkdir()
    recorded(tmp_path / "quota", exit_code=1, machine=machine)
    (tmp_path / "quota-log.txt").write_text("INFO 11-21 03:46:24\nerror: no quota can be set here: no group\nWrote x\n")
    row, *others = table.rows(tmp_path, ["v2-tp2", "cpu", "tp2", "quota"])
    assert row[:2] == ("v2-tp2", "did not run: ValueError: not here") and len(row) == len(table.HEADS)
    assert [each[1] for each in others] == [
        "did not run: it was not recorded",
        "did not run: it was not recorded",
        "did not run: no quota can be set here: no group",
    ]
    page = table.markdown(tmp_path, [row])
    assert "| v2-tp2 | did not run: ValueError: not here |" in page and "with vLLM 0.0.1 on A CPU, 3 cores" in page


def test_a_worker_that_ran_other_tokens_is_counted(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 2, ["core", "core input", "core output"])
    worker = TraceWriter(tmp_path, 3, ["worker"], parent=2)
    for step, tokens in enumerate((12, 1, 1)):
        core.span("scheduler.schedule", 100 * step, 100 * step + 10, step=step, value=tokens).batch(step, {"a": tokens})
        core.counts(step, {"decode_requests": 1})
        worker.span("worker.execute", 100 * step + 20, 100 * step + 80, step=step, value=tokens if step != 2 else 5)
    worker.span("worker.execute", 900, 950, value=7)  # a warm-up's, of no step
    core.close()
    worker.close()
    assert token_mismatches(timeline.read(tmp_path)) == 1
