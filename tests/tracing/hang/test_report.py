"""The command: its lines, its JSON and its page, from pasted dumps; what it refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from tests.tracing.hang.reports import FRONT, WAITING_CORE, idle_worker
from tests.tracing.hang.situations import situation, with_state, worker
from tracing.hang.chain import explain
from tracing.hang.hangjson import as_json
from tracing.hang.report import facts, html, lines
from tracing.hang.situation import LastSpan, ProcessState

ROOT = Path(__file__).resolve().parents[3]
ENGINE = situation(FRONT, WAITING_CORE, worker(20, "Worker_TP0", "search (mine.py:4)"))
DEQUEUE = "dequeue (vllm/distributed/device_communicators/shm_broadcast.py:779)"


def test_the_first_line_is_the_answer() -> None:
    assert list(lines(ENGINE, explain(ENGINE))) == [
        "works in Python: worker Worker_TP0 (20) works in search, at search (mine.py:4)",
        "",
        "who waits for whom",
        "  front end (1) waits for core EngineCore (10): outputs, at select (selectors.py:468)",
        f"  core EngineCore (10) waits for worker Worker_TP0 (20): the answer to a call, at {DEQUEUE}",
    ]


def test_two_answers_are_told_apart() -> None:
    engine = situation(FRONT, WAITING_CORE, idle_worker(20, "Worker_TP0"))
    text = list(lines(engine, explain(engine)))
    assert text[1].startswith("or waits for a message")
    assert text[2].startswith("what would tell them apart: python -m tracing.record")


def test_the_last_span_of_each_process_is_told() -> None:
    spans = (
        LastSpan(20, 20, "worker.execute", "worker", 7, 5.25),
        LastSpan(10, 10, "scheduler.schedule", "core", 8, 5.0),
        LastSpan(10, 11, "core.input", "core input", -1, 4.0),
    )
    assert list(facts(replace(ENGINE, spans=spans))) == [
        "core EngineCore (10): last recorded core.input, 4.0 s ago",
        "worker Worker_TP0 (20): last recorded worker.execute of step 7, 5.2 s ago",
    ]


def test_what_is_recorded_in_standby_may_be_old() -> None:
    assert list(facts(replace(ENGINE, standby=True, requests=("a",)))) == [
        "its recorder is in standby: what it has recorded, if anything, may be older than this",
        "in the last recorded step: a",
    ]


def test_the_page_has_the_last_span_of_each_thread() -> None:
    spans = (
        LastSpan(20, 20, "worker.execute", "worker", 7, 5.25),
        LastSpan(20, 20, "queue.get", "worker", 6, 5.5),
        LastSpan(20, 21, "worker.hand_over", "worker", 6, 5.4),
        LastSpan(1, 1, "client.receive", "front end", -1, 5.0),
    )
    page = html(replace(ENGINE, spans=spans), explain(ENGINE))
    rows = re.findall(r"<tr><td.*?</tr>", page)[-3:]
    assert [re.findall(r">([^<>]*)</td>", row) for row in rows] == [
        ["front end", "1", "1", "client.receive", "", "5.0"],
        ["worker", "20", "20", "worker.execute", "7", "5.2"],
        ["worker", "20", "21", "worker.hand_over", "6", "5.4"],
    ]


def test_json_for_programs() -> None:
    values = json.loads(as_json(ENGINE, explain(ENGINE)))
    assert values["hang"] is True
    assert values["answers"][0]["frame"] == {"function": "search", "file": "mine.py", "line": 4}
    assert [link["awaited"] for link in values["chain"]] == ["core EngineCore (10)", "worker Worker_TP0 (20)"]


def test_the_page_has_every_stack_and_escapes_it() -> None:
    engine = situation(FRONT, WAITING_CORE, worker(20, "Worker_TP0", "<genexpr> (mine.py:4)"))
    page = html(engine, explain(engine))
    assert "&lt;genexpr&gt; (mine.py:4)" in page and "<genexpr>" not in page
    assert "run_busy_loop (vllm/v1/engine/core.py:1000)" in page


def test_the_page_has_what_would_tell_answers_apart_and_what_proc_says() -> None:
    engine = with_state(
        situation(FRONT, WAITING_CORE, idle_worker(20, "Worker_TP0")), 20, ProcessState("S", "poll", 0.5)
    )
    page = html(engine, explain(engine))
    assert "what would tell them apart: python -m tracing.record" in page
    assert "sleeps (poll); 0.50 s of CPU between the looks" in page
    assert "MainThread: wait: core; waits for the next call (poll)" in page


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tracing.hang", *words], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_the_command_reads_files_and_writes_a_page(tmp_path: Path) -> None:
    (tmp_path / "dump").write_text(FRONT + WAITING_CORE + idle_worker(20, "Worker_TP0"))
    process = command(str(tmp_path / "dump"), "--page", str(tmp_path / "page.html"))
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.startswith("waits for a message that the other side has not sent: worker Worker_TP0 (20)")
    assert (tmp_path / "page.html").exists()


def test_the_page_is_written_though_nobody_reads_the_text(tmp_path: Path) -> None:
    (tmp_path / "dump").write_text(FRONT + WAITING_CORE)
    words = ["-m", "tracing.hang", str(tmp_path / "dump"), "--page", str(tmp_path / "page.html")]
    with subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.close()
    assert (tmp_path / "page.html").exists()


def test_the_command_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "dump").write_text("nothing\n")
    assert command(str(tmp_path / "dump")).returncode == 2
    assert command(str(tmp_path / "missing")).returncode == 2
    assert command(str(2**22 + 1)).stderr.startswith("error: there is no process")
    elsewhere = command("http://192.0.2.1:8000")
    assert (elsewhere.returncode, "another machine" in elsewhere.stderr) == (1, True)
