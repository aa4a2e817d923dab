"""What watching costs: the ledger's arithmetic and memory, what a watcher brought in, and process groups that end."""

from __future__ import annotations

import gzip
import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.errors import EnginescopeError
from probes.machine import fingerprint
from probes.processes.engine import EngineFailed
from tests.tracing.stories import NS, stream
from tests.tracing.tracerecords import recorded
from tests.tracing.traces import TraceWriter
from tracing import review
from tracing.breakdown import findings
from tracing.overhead import __main__ as overhead
from tracing.overhead import arms, ledger, output, table
from tracing.overhead.entry import Between, Entry, Interval, Output, Plain, Row, WatchedTrial

MACHINE = fingerprint().as_dict()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENGINESCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def trial(tok_s: float, start_ns: int = 0) -> WatchedTrial:
    return WatchedTrial(start_ns, start_ns + 100, tok_s, ttft_s=1 / tok_s, tpot_s=0.5 / tok_s)


def entry(tok_s: float = 99.0, **more: Any) -> Entry:
    rounds = [{"off": trial(100), "recorder": trial(tok_s)} for _ in range(6)]
    rows = (
        Row("recorder", processes=3, changes=ledger.changes(rounds, "recorder")),
        Row("nsys", missing="nsys is not on the PATH"),
    )
    return replace(
        Entry("2026-11-21", MACHINE, "two-layer", 1, 32, 64, Plain(100.0, ttft_s=0.01, tpot_s=0.005), rows), **more
    )


# --- the ledger ---


def test_a_change_is_against_the_plain_engine_of_its_round() -> None:
    rounds = [{"off": trial(base), "recorder": trial(base * 0.9)} for base in (100, 200, 50, 80, 90, 120)]
    changes = ledger.changes([*rounds, {"off": trial(1)}], "recorder")
    assert changes.tok_s == Interval(*[pytest.approx(-0.1)] * 3, 6)
    assert changes.ttft_s.median == pytest.approx(1 / 0.9 - 1)


@pytest.mark.parametrize(("n", "place"), [(5, None), (6, 1), (9, 2), (20, 6), (30, 10)])
def test_intervals_are_those_of_the_sign_test(n: int, place: int | None) -> None:
    interval = ledger.interval(list(range(1, n + 1)))
    assert (interval.lo, interval.hi) == ((place, n + 1 - place) if place else (None, None))


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=60))
def test_an_interval_holds_its_median(values: list[float]) -> None:
    interval = ledger.interval(values)
    assert interval.n == len(values)
    assert interval.lo is None or min(values) <= interval.lo <= interval.median <= interval.hi <= max(values)


def test_an_entry_takes_the_place_of_its_like() -> None:
    for each in (entry(99), entry(98), entry(batch_size=16), entry(machine=MACHINE | {"torch": "1.0"})):
        ledger.store(each)
    assert [each.batch_size for each in ledger.entries()] == [1, 16, 1]
    assert [quote.changes.tok_s.median for quote in ledger.quote(MACHINE, ["recorder", "nsys"])] == [
        pytest.approx(-0.02),
        pytest.approx(-0.01),
    ]
    assert ledger.quote(MACHINE | {"vllm": "0.1"}, ["recorder"]) == [] == ledger.quote({}, ["recorder"])


def test_arms_that_were_not_measured_again_keep_their_rows() -> None:
    ledger.store(entry())
    rows = (replace(entry().rows[0], arm="py-spy"), Row("recorder", missing="its process died"))
    ledger.store(entry(measured="2026-12-01", rows=rows))
    [merged] = ledger.entries()
    assert {row.arm: row.missing for row in merged.rows} == {"py-spy": None, "recorder": None}
    quotes = ledger.quote(MACHINE, ["recorder", "py-spy"])
    assert {quote.arm: quote.measured for quote in quotes} == {"py-spy": "2026-12-01", "recorder": "2026-11-21"}


def test_an_entry_is_read_as_it_was_written() -> None:
    steps = Output(10.5, 480.0, Between(1.0, 2.0, 3.0, 4.0), frozen_steps=(4, 5))
    whole = entry(rows=(*entry().rows, replace(entry().rows[0], arm="recorder + NVTX", output=steps)))
    ledger.store(whole)
    assert ledger.entries() == [whole]


def test_a_ledger_of_an_older_schema_is_refused_by_its_number() -> None:
    ledger.store(entry())
    ledger.path().write_text('{"schema": 1, "entries": []}')
    with pytest.raises(EnginescopeError, match="is of schema 1, this version reads 2: remove it and measure again"):
        ledger.entries()


def test_a_review_quotes_the_ledger_of_its_machine(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "trace"
    stream(folder, NS)
    recorded(folder)
    ledger.store(entry())
    assert review.review(folder) == 0
    assert "On this machine recorder changed throughput by -1.0%" in (folder / "review.html").read_text()
    for path in folder.glob("process-*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"modes": ["nvtx"]}))
    assert findings.findings(folder).review.cost.ledger == ()
    ledger.path().write_text("{")
    assert "cannot read the ledger" in findings.findings(folder).review.problems[0]


def test_an_entry_as_a_table() -> None:
    recorder, nsys = table.cells(entry())
    assert recorder[:2] == ["recorder", "-1.0% [-1.0%, -1.0%]"] and recorder[-1] == "3"
    assert nsys == ["nsys", *["n/a"] * 6]
    assert str(Interval(0.02, None, None, 3)) == "+2.0% (n=3)"


# --- what a watcher wrote ---


def engine(folder: Path, arm: arms.OverheadArm, **more: Any) -> Any:
    return SimpleNamespace(arm=arm, folder=folder, watched_s=2.0, frozen=[(0, 1)], **more)


def test_records_of_py_spy_and_of_the_torch_profiler(tmp_path: Path) -> None:
    for stamp in (100, 900):  # the second began after the trial
        (tmp_path / f"samples-{stamp}.txt").write_text("main (a.py:1);step (b.py:2) 30\nmain (a.py:1) 10\n")
    samples = output.output(engine(tmp_path, arms.OverheadArm("py-spy", tool="py-spy")), [{"py-spy": trial(1, 500)}])
    assert samples == Output(pytest.approx(40 / 100e-9), pytest.approx(48 / 100e-9))
    arm = arms.watched(tmp_path)[6]
    now = time.monotonic_ns()
    for stamp in (time.time_ns() - 10**12, time.time_ns() + 10**9):
        with gzip.open(tmp_path / f"rank0.{stamp}.pt.trace.json.gz", "w") as file:
            file.write(b'{"ph": "X"}\n{"ph": "M"}\n{"ph": "X"}\n')
    traced = output.output(engine(tmp_path, arm), [{arm.name: trial(1, now)}])
    assert traced and traced.records_s == pytest.approx(
        2 / 100e-9
    )  # of the file written after the trial, not the one before


def test_the_way_between_processes_is_of_the_trials_alone(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path, 1, ["core", "core output"])
    for start in (1000, 5000):  # the first is of a warm-up
        writer.span("scheduler.schedule", start, start + 20, step=start // 5000)
        writer.span("core.encode", start + 30, start + 37, step=77)
    writer.close()
    spans = output.output(engine(tmp_path, arms.OverheadArm("recorder")), [{"recorder": trial(1, 5000)}])
    assert spans and spans.records_s == pytest.approx(2 / 100e-9)
    assert spans.between == Between(serialize_ns=7, send_ns=0, deserialize_ns=0, zmq_ns=0)
    assert spans.frozen_steps == ()


def test_steps_that_were_frozen_are_named() -> None:
    steps = pd.DataFrame({"step": [3, 4, 5], "start_ns": [0, 100, 200], "end_ns": [50, 150, 250]})
    assert output.frozen_steps(steps, np.array([(60, 90), (120, 130), (240, 400)])) == (4, 5)


# --- arms and their processes ---


def test_arms_that_are_asked_for(tmp_path: Path) -> None:
    everything = [*arms.watched(tmp_path), *arms.split()]
    assert [arm.name for arm in overhead.chosen(everything, ["py-spy"])] == ["off", "off too", "py-spy"]
    assert overhead.chosen(everything, None) == everything
    with pytest.raises(EnginescopeError, match="no arm 'x'; there are off"):
        overhead.chosen(everything, ["x"])


def test_a_tool_that_is_missing_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineFailed, match="nsys is neither on the PATH nor beside this Python"):
        arms.RunningArm(arms.OverheadArm("nsys", tool="nsys"), {}, tmp_path)
    beside = arms.RunningArm(arms.OverheadArm("py-spy", tool="py-spy"), {}, tmp_path)  # pip puts it there
    beside.kill()


def test_an_arm_that_py_spy_cannot_sample_is_not_measured(tmp_path: Path) -> None:
    process = arms.RunningArm(arms.OverheadArm("py-spy", tool="py-spy"), {}, tmp_path)
    process.pid = 4_000_000
    with pytest.raises(EngineFailed, match="py-spy could not sample process 4000000"):
        process.trial(batch_size=1)
    process.kill()


def test_an_engine_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "vllm.py").write_text("raise ImportError('a broken installation')")
    process = arms.RunningArm(arms.OverheadArm("off", {"PYTHONPATH": str(tmp_path)}), {}, tmp_path)
    with pytest.raises(EngineFailed, match="ImportError: a broken installation"):
        process.start()
    process.kill()
    assert process.engine.child.members() == []
