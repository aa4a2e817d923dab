"""The real engine under vLLM's own torch profiler beside the recorder, and what the recorder costs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.recording import FORKED, LIMIT_S, ROOT, Trace, record_program
from tracing import timeline
from tracing.overhead import ledger
from tracing.timeline import innermost
from tracing.torchsums import operators

pytestmark = [pytest.mark.engine, pytest.mark.slow(60)]


@pytest.fixture(scope="module")
def torch_profiled(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """A batch under vLLM's own torch profiler, whose files are in the folder `torch` of the trace."""
    folder = tmp_path_factory.mktemp("torch-profiled") / "trace"
    return record_program("torch_profiled", folder, str(folder / "torch"), **FORKED)


def test_operators_lie_in_the_spans_of_the_worker(torch_profiled: Trace) -> None:
    assert torch_profiled.completed.returncode == 0, torch_profiled.completed.stderr[-3000:]
    sums = operators.read(timeline.read(torch_profiled.folder))
    assert sums is not None and not sums.problems
    own = sums.names.groupby("stage", observed=True)["own_ns"].sum()
    assert own.get(innermost.OUTSIDE, 0) == 0
    assert (own["forward"] + own["logits"]) / own.sum() > 0.7
    products = sums.names[sums.names["name"] == "_C::onednn_mm"].set_index("stage")["count"]
    assert products["forward"] == 8 * products["logits"]  # four in each of the two layers
    assert sums.spent_ns["logits"] * 0.8 < own["logits"] <= sums.spent_ns["logits"]
    folder = torch_profiled.folder
    command = [sys.executable, "-m", "tracing.review", str(folder), "--perfetto", str(folder / "trace.pftrace")]
    reviewed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S)
    assert "torch profiler: stages of" in reviewed.stdout


@pytest.mark.alone
def test_what_the_recorder_costs_is_measured_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINESCOPE_CACHE", str(tmp_path))
    options = ["--arm", "recorder", "--arm", "in process", "--batch-size", "2", "--rounds", "6", "--output-len", "16"]
    command = [sys.executable, "-m", "tracing.overhead", *options]
    environment = os.environ | FORKED
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr[-3000:]
    [entry] = ledger.entries()
    rows = {row.arm: row for row in entry.rows}
    assert {name: row.processes for name, row in rows.items()} == {
        **{"off": 3, "off too": 3, "recorder": 3},
        "in process": 1,
    }
    changes, output = rows["recorder"].changes, rows["recorder"].output
    assert changes is not None and abs(changes.tok_s.median) < 0.5 and changes.tok_s.n == 6
    assert output is not None and output.records_s > 1000
    assert output.between is not None and output.between.zmq_ns > 0
    assert rows["off"].output is None
