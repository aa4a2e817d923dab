"""What watching costs: the ledger's arithmetic and memory, what a watcher brought in, and process groups that end."""

from __future__ import annotations

import gzip
import json
import time
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
from tests.tracing.test_budget import stream
from tests.tracing.traces import TraceWriter
from tracing import review
from tracing.breakdown import findings
from tracing.overhead import __main__ as overhead
from tracing.overhead import arms, ledger, table, yields

MACHINE = fingerprint().as_dict()
NS = [1000 * (place + 1) for place in range(40)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENGINESCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def trial(tok_s: float, start_ns: int = 0) -> dict[str, Any]:
    return {"tok_s": tok_s, "ttft_s": 1 / tok_s, "tpot_s": 0.5 / tok_s, "start_ns": start_ns, "end_ns": start_ns + 100}


def entry(tok_s: float = 99.0, **more: Any) -> dict[str, Any]:
    rounds = [{"off": trial(100), "recorder": trial(tok_s)} for _ in range(6)]
    row = {"arm": "recorder", "missing": None, "processes": 3} | ledger.changes(rounds, "recorder")
    return {
        **{"measured": "2026-11-21", "machine": MACHINE, "model": "two-layer", "batch_size": 1},
        **{"input_len": 32, "output_len": 64, "base": {"tok_s": 100.0, "ttft_s": 0.01, "tpot_s": 0.005}},
        "rows": [row, {"arm": "nsys", "missing": "nsys is not on the PATH"}],
    } | more


# --- the ledger ---


def test_a_change_is_against_the_plain_engine_of_its_round() -> None:
    rounds = [{"off": trial(base), "recorder": trial(base * 0.9)} for base in (100, 200, 50, 80, 90, 120)]
    found = ledger.changes([*rounds, {"off": trial(1)}], "recorder")
    assert found["tok_s"] == {name: pytest.approx(-0.1) for name in ("median", "lo", "hi")} | {"n": 6}
    assert found["ttft_s"]["median"] == pytest.approx(1 / 0.9 - 1)


@pytest.mark.parametrize(("n", "place"), [(5, None), (6, 1), (9, 2), (20, 6), (30, 10)])
def test_intervals_are_those_of_the_sign_test(n: int, place: int | None) -> None:
    found = ledger.interval(list(range(1, n + 1)))
    assert (found["lo"], found["hi"]) == ((place, n + 1 - place) if place else (None, None))


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=60))
def test_an_interval_holds_its_median(values: list[float]) -> None:
    found = ledger.interval(values)
    assert found["n"] == len(values)
    assert found["lo"] is None or min(values) <= found["lo"] <= found["median"] <= found["hi"] <= max(values)


def test_an_entry_takes_the_place_of_its_like() -> None:
    for each in (entry(99), entry(98), entry(batch_size=16), entry(machine=MACHINE | {"torch": "1.0"})):
        ledger.store(each)
    assert [each["batch_size"] for each in ledger.entries()] == [1, 16, 1]
    assert [row["tok_s"]["median"] for row in ledger.quote(MACHINE, ["recorder", "nsys"])] == [
        pytest.approx(-0.02),
        pytest.approx(-0.01),
    ]
    assert ledger.quote(MACHINE | {"vllm": "0.1"}, ["recorder"]) == [] == ledger.quote({}, ["recorder"])


def test_arms_that_were_not_measured_again_keep_their_rows() -> None:
    ledger.store(entry())
    again = entry(measured="2026-12-01")
    again["rows"] = [{**again["rows"][0], "arm": "py-spy"}, {"arm": "recorder", "missing": "its process died"}]
    ledger.store(again)
    [found] = ledger.entries()
    assert {row["arm"]: row["missing"] for row in found["rows"]} == {"py-spy": None, "recorder": None}
    quoted = ledger.quote(MACHINE, ["recorder", "py-spy"])
    assert {row["arm"]: row["measured"] for row in quoted} == {"py-spy": "2026-12-01", "recorder": "2026-11-21"}


def test_a_review_quotes_the_ledger_of_its_machine(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "trace"
    stream(folder, NS)
    (folder / "trace.json").write_text(json.dumps({"machine": MACHINE}))
    ledger.store(entry())
    assert review.review(folder) == 0
    assert "On this machine recorder changed throughput by -1.0%" in (folder / "review.html").read_text()
    for path in folder.glob("process-*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"modes": ["nvtx"]}))
    assert findings.findings(folder).review["cost"]["ledger"] == []
    ledger.path().write_text("{")
    assert "cannot read the ledger" in findings.findings(folder).review["problems"][0]


def test_an_entry_as_a_table() -> None:
    recorder, nsys = table.rows(entry())
    assert recorder[:2] == ["recorder", "-1.0% [-1.0%, -1.0%]"] and recorder[-1] == "3"
    assert nsys == ["nsys", *["n/a"] * 6]
    assert ledger.change({"median": 0.02, "lo": None, "hi": None, "n": 3}) == "+2.0% (n=3)"


# --- what a watcher brought in ---


def engine(folder: Path, arm: arms.OverheadArm, **more: Any) -> Any:
    return SimpleNamespace(arm=arm, folder=folder, watched_s=2.0, frozen=[(0, 1)], **more)


def test_records_of_py_spy_and_of_the_torch_profiler(tmp_path: Path) -> None:
    for stamp in (100, 900):  # the second began after the trial
        (tmp_path / f"samples-{stamp}.txt").write_text("main (a.py:1);step (b.py:2) 30\nmain (a.py:1) 10\n")
    found = yields.harvest(engine(tmp_path, arms.OverheadArm("py-spy", tool="py-spy")), [{"py-spy": trial(1, 500)}])
    assert found == {"records_s": pytest.approx(40 / 100e-9), "bytes_s": pytest.approx(48 / 100e-9)}
    arm = arms.watched(tmp_path)[6]
    now = time.monotonic_ns()
    for stamp in (time.time_ns() - 10**12, time.time_ns() + 10**9):
        with gzip.open(tmp_path / f"rank0.{stamp}.pt.trace.json.gz", "w") as file:
            file.write(b'{"ph": "X"}\n{"ph": "M"}\n{"ph": "X"}\n')
    found = yields.harvest(engine(tmp_path, arm), [{arm.name: trial(1, now)}])
    assert found["records_s"] == pytest.approx(2 / 100e-9)  # of the file written after the trial, not the one before


def test_the_way_between_processes_is_of_the_trials_alone(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path, 1, ["core", "core output"])
    for start in (1000, 5000):  # the first is of a warm-up
        writer.span("scheduler.schedule", start, start + 20, step=start // 5000)
        writer.span("core.encode", start + 30, start + 37, step=77)
    writer.close()
    found = yields.harvest(engine(tmp_path, arms.OverheadArm("recorder")), [{"recorder": trial(1, 5000)}])
    assert found["records_s"] == pytest.approx(2 / 100e-9)
    assert found["between"] == {"serialize_ns": 7, "send_ns": 0, "deserialize_ns": 0, "zmq_ns": 0}
    assert found["frozen_steps"] == []


def test_steps_that_were_frozen_are_named() -> None:
    steps = pd.DataFrame({"step": [3, 4, 5], "start_ns": [0, 100, 200], "end_ns": [50, 150, 250]})
    assert yields.frozen_steps(steps, np.array([(60, 90), (120, 130), (240, 400)])) == [4, 5]


# --- arms and their processes ---


def test_arms_that_are_asked_for(tmp_path: Path) -> None:
    everything = [*arms.watched(tmp_path), *arms.split()]
    assert [arm.name for arm in overhead.chosen(everything, ["py-spy"])] == ["off", "off too", "py-spy"]
    assert overhead.chosen(everything, None) == everything
    with pytest.raises(EnginescopeError, match="no arm 'x'; there are off"):
        overhead.chosen(everything, ["x"])


def test_a_tool_that_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineFailed, match="nsys is neither on the PATH nor beside this Python"):
        arms.RunningArm(arms.OverheadArm("nsys", tool="nsys"), {}, tmp_path)
    beside = arms.RunningArm(arms.OverheadArm("py-spy", tool="py-spy"), {}, tmp_path)  # pip puts it there
    beside.kill()


def test_an_engine_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "vllm.py").write_text("raise ImportError('a broken installation')")
    process = arms.RunningArm(arms.OverheadArm("off", {"PYTHONPATH": str(tmp_path)}), {}, tmp_path)
    with pytest.raises(EngineFailed, match="ImportError: a broken installation"):
        process.start()
    process.kill()
    assert process.engine.child.members() == []
