"""The real engine, recorded and reviewed: programs that know nothing of this toolkit (`traced/`)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.engine.recording import LIMIT_S, ROOT, Trace
from tracing import timeline

pytestmark = [pytest.mark.engine, pytest.mark.slow(270)]


def parts(review: dict[str, Any]) -> dict[str, float]:
    return {part["stage"]: part["median_ns"] for part in review["budget"]}


def test_a_batch_and_a_killed_core(batch: Trace) -> None:
    assert "16 outputs" in batch.completed.stdout and "INCOMPLETE" not in batch.completed.stderr
    review = batch.review
    requests = review["requests"]
    assert requests["states"] == {"finished": 16, "cut": 4}
    assert requests["whole"] == 16 and len(requests["cut"]) == 4
    assert all("scheduler.free" in missing for missing in requests["cut"].values())
    assert any("was cut: the " in problem and "the core died" in problem for problem in review["problems"])


def test_where_the_time_of_a_batch_goes(batch: Trace) -> None:
    review = batch.review
    assert review["unexplained_share_median"] < 0.02
    stages = parts(review)
    assert {"forward", "schedule", "update", "prepare", "sample", "tokenize", "unexplained"} <= set(stages)
    assert max(stages, key=lambda stage: stages[stage]) in ("forward", "wait: turn in generate", "logits")
    hops = {hop["hop"]: hop for hop in review["hops"]}
    assert set(hops) == {"front end → core", "core → worker", "worker → core", "core → front end"}
    assert hops["front end → core"]["count"] >= 16 and hops["front end → core"]["bytes_median"] > 50


def test_steps_are_numbered_alike_in_core_and_worker(batch: Trace) -> None:
    spans = timeline.read(batch.folder).spans
    core = spans[spans["site"] == "executor.dispatch"].set_index("step")
    worker = spans[spans["site"] == "worker.execute"].set_index("step")
    both = core.add_suffix("_core").join(worker.add_suffix("_worker"), how="inner")
    assert len(both) >= 24
    scheduled = spans[spans["site"] == "scheduler.schedule"].set_index("step")["value"]
    assert (scheduled.reindex(both.index) == both["value_worker"]).all()
    assert (both["start_ns_core"] < both["end_ns_worker"]).all()


def test_streams_aborted_doubled_and_refused(streams: Trace) -> None:
    assert streams.completed.returncode == 0, streams.completed.stderr[-3000:]
    assert "refused:" in streams.completed.stdout
    review = streams.review
    assert review["requests"]["cut"] == {}
    assert review["requests"]["states"] == {"finished": 9, "aborted": 1, "refused": 1}
    assert review["unexplained_share_median"] < 0.02
    assert "nvtx" in timeline.read(streams.folder).processes[0].modes


def test_one_process_that_preempts(one_process: Trace) -> None:
    assert one_process.completed.returncode == 0, one_process.completed.stderr[-3000:]
    review = one_process.review
    assert review["requests"]["states"] == {"finished": 6 + 2}  # the last two are the study plan's example
    assert one_process.completed.stdout.count(" tokens\n") == 2
    assert len({pid for pids in review["roles"].values() for pid in pids}) == 1
    spans = timeline.read(one_process.folder).spans
    assert (spans["site"] == "scheduler.preempt").any()
    assert "wait: preempted" in parts(review)


def test_the_demonstration_on_the_default_model(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tracing.record", "--out", str(tmp_path / "trace")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "where a request's time goes" in done.stdout
    review = json.loads((tmp_path / "trace" / "review.json").read_text())
    states = review["requests"]["states"]
    assert set(states) <= {"finished", "stopped"} and sum(states.values()) == review["requests"]["whole"] == 5
    assert review["unexplained_share_median"] < 0.01
    assert pd.Series(parts(review)).idxmax() in ("forward", "logits")
