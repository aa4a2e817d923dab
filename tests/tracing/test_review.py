"""The review of a synthetic trace: what it says, and what it writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from probes.columns import markdown
from probes.console import percent
from probes.errors import EnginescopeError
from tests.tracing.stories import NS, batch, stream
from tests.tracing.tracerecords import recorded
from tests.tracing.traces import TraceWriter
from tracing import review
from tracing.breakdown import findings
from tracing.breakdown import review as reviewfile
from tracing.events.contention import ContentionSample
from tracing.timeline.columns import SpanRow

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tracing.review", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_what_is_printed_and_written(tmp_path: Path) -> None:
    folder = tmp_path / "trace"
    stream(folder, NS)
    done = run(str(folder), "--perfetto", str(folder / "t.pftrace"), "--csv", str(folder / "t.csv"))
    assert done.returncode == 0, done.stderr
    assert "1 of 1 requests whole (1 stopped)" in done.stdout
    assert done.stdout.splitlines()[-2:] == [f"Wrote {folder / name}" for name in ("t.csv", "t.csv.columns.md")]
    found = json.loads((folder / "review.json").read_text())
    assert found["requests"] == {"total": 1, "whole": 1, "states": {"stopped": 1}, "cut": {}}
    assert {"stage", "median_ns", "p95_ns", "share"} == set(found["budget"][0])
    assert sum(part["share"] for part in found["budget"]) == pytest.approx(1)
    assert found["dropped_spans"] == 0 and set(found["roles"]) >= {"front end", "core", "worker"}
    assert {hop["hop"] for hop in found["hops"]} == {
        *("front end → core", "core → worker", "core → front end"),
    }
    header = (folder / "t.csv").read_text().splitlines()[0]
    assert header.startswith("start_ns,end_ns,site,stage,role")
    assert markdown(SpanRow) in (folder / "t.csv.columns.md").read_text()


def test_the_parts_of_a_request_too_small_to_be_shown_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream(tmp_path, [10**9, *NS])
    assert review.review(tmp_path) == 0
    budget = findings.findings(tmp_path).review.budget
    small = [part.share for part in budget if part.share < 0.0005 and part.stage != "unexplained"]
    line = f"{len(small)} parts under 0.05% each, together {percent(sum(small))}"
    assert f"\nand {line}\n" in capsys.readouterr().out
    assert line in (tmp_path / "review.html").read_text()


def test_every_key_is_explained_beside_the_review(tmp_path: Path) -> None:
    stream(tmp_path, NS)
    assert run(str(tmp_path)).returncode == 0
    explained = (tmp_path / "columns.md").read_text()
    for record in (reviewfile.Review, reviewfile.BudgetPart, ContentionSample):
        assert markdown(record) in explained
    assert "## review.json: `cost.ledger.changes`\n" in explained


def test_a_review_is_read_as_it_was_written(tmp_path: Path) -> None:
    batch(tmp_path, finished=("0",), cut=("1",))
    reviewed = findings.findings(tmp_path).review
    reviewfile.write(reviewed, tmp_path / "review.json")
    assert reviewfile.read(tmp_path / "review.json") == reviewed


@pytest.mark.parametrize(
    "text, reason",
    [
        ('{"schema": 1, "about": ""}', "is of schema 1, this version reads 10: write it again"),
        ('{"schema": 10, "about": ""}', "is no review: no key 'budget' in a Review"),
        ("[]", "is no review"),
    ],
)
def test_a_review_that_cannot_be_read_is_one_line(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "review.json").write_text(text)
    with pytest.raises(EnginescopeError, match=reason) as raised:
        reviewfile.read(tmp_path / "review.json")
    assert "\n" not in str(raised.value)


def test_problems_come_first(tmp_path: Path) -> None:
    stream(tmp_path, NS)
    recorded(tmp_path, problems=("no process in the role worker ever reported",))
    TraceWriter(tmp_path, 99, ["core"]).span("kv.lookup", 1, 2).close(dropped=4)
    assert findings.findings(tmp_path).review.problems == (
        "no process in the role worker ever reported",
        "4 spans were dropped: the figures below leave them out",
    )


def test_a_killed_process_is_named_and_the_reason_of_what_was_cut(tmp_path: Path) -> None:
    batch(tmp_path, finished=("0",), cut=("1", "2"))
    TraceWriter(tmp_path, 12, ["worker"], parent=11).span("worker.execute", 2200, 2300, step=0).close(stopped_ns=None)
    recorded(tmp_path, state="running", exit_code=None)
    review = findings.findings(tmp_path).review
    assert review.problems == (
        "the recording did not end: the recorder still runs, or was killed",
        "the worker died (pid 12)",
        "request 1-x was cut: the worker died (pid 12)",
        "request 2-x was cut: the worker died (pid 12)",
    )
    assert (review.requests.total, review.requests.whole) == (3, 1)


def test_an_engine_that_is_killed_with_nothing_in_flight_is_no_problem(tmp_path: Path) -> None:
    """So vLLM ends its own processes."""
    batch(tmp_path, finished=("0", "1"), cut=())
    TraceWriter(tmp_path, 12, ["worker"], parent=11).span("worker.execute", 2200, 2300, step=0).close(stopped_ns=None)
    assert findings.findings(tmp_path).review.problems == ()


def test_a_path_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(EnginescopeError, match="there is no folder"):
        review.review(tmp_path / "typo")


def test_a_folder_that_is_no_trace_is_one_line(tmp_path: Path) -> None:
    done = run(str(tmp_path))
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "python -m tracing.record" in done.stderr


def test_a_trace_without_a_request_is_still_reviewed(tmp_path: Path) -> None:
    TraceWriter(tmp_path, 1, ["core"]).span("gc", 1, 2).close()
    assert run(str(tmp_path)).returncode == 0
    assert json.loads((tmp_path / "review.json").read_text())["requests"]["total"] == 0


def test_what_cannot_be_written_is_one_line_and_keeps_back_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream(tmp_path, NS)
    (tmp_path / "review.json").mkdir()
    missing, perfetto = tmp_path / "no" / "spans.csv", tmp_path / "x.pftrace"
    with pytest.raises(EnginescopeError) as raised:
        review.review(tmp_path, perfetto, missing)
    reasons = str(raised.value).removeprefix("cannot write ").split("; ")
    assert reasons[0] == f"{tmp_path / 'review.json'}: Is a directory" and reasons[1].startswith(f"{missing}: ")
    assert "None" not in str(raised.value)
    assert perfetto.stat().st_size > 0 and (tmp_path / "review.html").exists()
    assert "where a request's time goes" in capsys.readouterr().out


def test_a_csv_is_whole_without_what_explains_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, csv = tmp_path / "trace", tmp_path / "spans.csv"
    stream(folder, NS)
    (tmp_path / "spans.csv.columns.md").mkdir()
    assert review.review(folder, csv=csv) == 0
    assert csv.stat().st_size > 0 and capsys.readouterr().out.splitlines()[-1] == f"Wrote {csv}"


def test_files_are_there_though_nobody_reads_to_the_end(tmp_path: Path) -> None:
    stream(tmp_path, NS)
    command = f"{sys.executable} -m tracing.review {tmp_path} | head -1"
    subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, timeout=120, check=True)
    assert json.loads((tmp_path / "review.json").read_text())["requests"]["total"] == 1
    assert (tmp_path / "review.html").exists()


def test_a_full_standard_output_is_one_line(tmp_path: Path) -> None:
    stream(tmp_path, NS)
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "tracing.review", str(tmp_path)]
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (1, "error: cannot write standard output: No space left on device\n")
    assert (tmp_path / "review.json").exists()
