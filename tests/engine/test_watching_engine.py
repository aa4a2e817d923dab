"""The real engine under vLLM's own torch profiler beside the recorder, and what the recorder costs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from probes.checkpoint import two_layer_model
from tracing import timeline
from tracing.overhead import ledger
from tracing.timeline import innermost
from tracing.torchsums import operators

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 400
pytestmark = [pytest.mark.engine, pytest.mark.slow]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    return done


def test_operators_lie_in_the_spans_of_the_worker(tmp_path: Path) -> None:
    folder, program = tmp_path / "trace", ROOT / "tests" / "engine" / "traced" / "torch_profiled.py"
    command = [sys.executable, str(program), str(two_layer_model()), str(folder / "torch")]
    done = run("-m", "tracing.record", "--out", str(folder), "--", *command)
    assert done.returncode == 0, done.stderr[-3000:]
    found = operators.read(timeline.read(folder))
    assert found is not None and not found.problems
    own = found.names.groupby("stage", observed=True)["own_ns"].sum()
    assert own.get(innermost.OUTSIDE, 0) == 0
    assert (own["forward"] + own["logits"]) / own.sum() > 0.7
    products = found.names[found.names["name"] == "_C::onednn_mm"].set_index("stage")["count"]
    assert products["forward"] == 8 * products["logits"]  # four in each of the two layers
    assert found.spent_ns["logits"] * 0.8 < own["logits"] <= found.spent_ns["logits"]
    reviewed = run("-m", "tracing.review", str(folder), "--perfetto", str(folder / "trace.pftrace"))
    assert "torch profiler: stages of" in reviewed.stdout


def test_what_the_recorder_costs_is_measured_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINESCOPE_CACHE", str(tmp_path))
    options = ["--arm", "recorder", "--arm", "in process", "--batch-size", "2", "--rounds", "6", "--output-len", "16"]
    done = run("-m", "tracing.overhead", *options)
    assert done.returncode == 0, done.stderr[-3000:]
    [entry] = json.loads(ledger.path().read_text())["entries"]
    rows = {row["arm"]: row for row in entry["rows"]}
    assert {name: row["processes"] for name, row in rows.items()} == {
        **{"off": 3, "off too": 3, "recorder": 3},
        "in process": 1,
    }
    assert abs(rows["recorder"]["tok_s"]["median"]) < 0.5 and rows["recorder"]["tok_s"]["n"] == 6
    assert rows["recorder"]["records_s"] > 1000 and rows["recorder"]["between"]["zmq_ns"] > 0
    assert "records_s" not in rows["off"]
