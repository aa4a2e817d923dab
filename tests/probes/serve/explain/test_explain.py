"""`probes.serve --explain`: a whole log to a verdict, figures, JSON and a page."""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
import sys
import sysconfig
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes.serve.explain.explainedlog import ExplainedLog, explain
from probes.serve.explain.sourcelines import SOURCE_LINES
from probes.serve.faults.wording import reworded
from tests.probes.serve.explain.lines import load, step
from tests.probes.serve.explain.test_startup import V08

SERVED = [
    "INFO 04-01 12:02:00 [async_llm.py:578] Added request chatcmpl-1.",
    *(step(number, (0, 0), (2, 2), 8.0) for number in range(9)),
    step(9, (1, 300), (0, 0), 40.0),
    load("12:00:01", 100.0, 50.0, 3, 10.0),
    load("12:00:31", 10.0, 90.0, 5, 20.0),
    'INFO:     10.0.0.1:51422 - "POST /v1/completions?x=1 HTTP/1.1" 200 OK',
    'INFO:     10.0.0.1:51422 - "POST /v1/completions HTTP/1.1" 500 Internal Server Error',
]
DEATH = """\
(Worker_TP1 pid=4) ERROR 11-26 12:01:00 [multiproc_executor.py:880] WorkerProc hit an exception.
(Worker_TP1 pid=4) ERROR 11-26 12:01:00 [multiproc_executor.py:880] Traceback (most recent call last):
(Worker_TP1 pid=4) ERROR 11-26 12:01:00 [multiproc_executor.py:880] torch.OutOfMemoryError: CUDA out of memory. Tried
(EngineCore pid=2) ERROR 11-26 12:01:01 [core.py:1512] EngineCore encountered a fatal error.
(EngineCore pid=2) ERROR 11-26 12:01:01 [core.py:1512] RuntimeError: Worker failed with error 'CUDA', please check
(APIServer pid=1) vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above)
"""
WAITS = (
    "(EngineCore pid=2) INFO 11-26 12:05:02 [shm_broadcast.py:802] No available shared memory broadcast "
    "block found in 60 seconds.\n"
)
HUNG = "a worker has not taken its next step for a minute: it compiles, loads, or hangs"
WHOLE = V08 + "\n".join(SERVED) + "\n"


def explained_of(log: str) -> ExplainedLog:
    (explained,) = explain(io.BytesIO(log.encode())).values()
    return explained


def run(*words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "probes.serve", "--explain", *words]
    wide = {**os.environ, "COLUMNS": "180"}
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, env=wide)


@pytest.mark.parametrize(
    ("log", "end", "cause"),
    [
        (WHOLE, "it answered, and the log ends while it does", None),
        (WHOLE + "INFO:     Shutting down\n", "it was told to end, and did", None),
        (WHOLE + "INFO:     Shutting down\nEngineDeadError: x\n", "it was told to end, and did", None),
        (WHOLE + DEATH, "it answered, and then failed", "out of memory on the GPU"),
        (DEATH, "it did not start", "out of memory on the GPU"),
        (V08.split("INFO 04-01 12:01:22")[0], "the log ends before it answered; the last thing it did: compiles", None),
        ("\n".join(SERVED), "it answered, and the log ends while it does", None),
        (WHOLE + 2 * WAITS, "it answered, and then hung: no step since a worker stopped taking them", HUNG),
        (WHOLE + WAITS + step(20, (0, 0), (1, 1), 9.0), "it answered, and the log ends while it does", None),
        (
            V08.split("INFO 04-01 12:01:22")[0] + WAITS,
            "the log ends before it answered; the last thing it did: compiles",
            HUNG,
        ),
        (WHOLE + "ValueError: of one request\n", "it answered, and the log ends while it does", None),
    ],
)
def test_how_a_log_ends(log: str, end: str, cause: str | None) -> None:
    explained = explained_of(log)
    found = explained.cause()
    assert (explained.end, found and found.cause) == (end, cause)


@pytest.mark.parametrize(
    "prefixed",
    [
        lambda number, line: f"2026-11-26T12:00:{number % 60:02d}.5Z {line}",
        lambda number, line: f"2026-11-26T12:00:{number % 60:02d}.123456789Z stderr F {line}",
        lambda number, line: f"[pod/vllm-0/vllm] {line}",
        lambda number, line: f"vllm-1  | {line}",
        lambda number, line: f"\x1b[36m{line}\x1b[0m",
        lambda number, line: json.dumps({"log": f"{line}\n", "stream": "stderr"}).replace('{"log": ', '{"log":'),
    ],
)
def test_what_a_container_puts_before_its_lines_changes_nothing(prefixed) -> None:
    bare = explained_of(WHOLE + DEATH)
    lines = [prefixed(number, line) for number, line in enumerate((WHOLE + DEATH).splitlines())]
    wrapped = explained_of("\n".join(lines))
    assert (wrapped.end, wrapped.cause(), wrapped.errors.lines) == (bare.end, bare.cause(), bare.errors.lines)
    assert wrapped.steps.count == bare.steps.count == 10 and wrapped.requests.http == bare.requests.http


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("[pod/vllm-0/vllm] ", "[pod/vllm-1/vllm] "),
        ("vllm-1  | ", "vllm-2  | "),
        ("vllm-a-x1 vllm ", "vllm-a-x2 vllm "),
    ],
)
def test_containers_shown_at_once_are_logs_of_their_own(one: str, other: str) -> None:
    well = [f"{one}{line}" for line in SERVED if "INFO" in line[:40]]
    badly = [f"{other}{line}" for line in DEATH.splitlines()]
    log = "\n".join(itertools.chain(*itertools.zip_longest(well, badly, fillvalue="")))
    first, second = explain(io.BytesIO(log.encode())).values()
    assert (first.end, first.steps.count) == ("it answered, and the log ends while it does", 10)
    assert (second.end, second.steps.count) == ("it did not start", 0)


def test_what_a_container_wrote_before_vllm_did_is_its_own() -> None:
    log = "vllm-1  | Triton is installed\nvllm-1  | INFO 04-01 12:00:00 [a.py:1] begins\nvllm-1  | no mark\n"
    logs = explain(io.BytesIO(log.encode()))
    assert {source: each.lines for source, each in logs.items()} == {"vllm-1": 3}


def test_json_has_every_figure(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text(WHOLE + DEATH)
    result = run(str(log), "--json")
    (told,) = json.loads(result.stdout)["logs"]
    assert result.returncode == 1 and told["cause"]["cause"] == "out of memory on the GPU"
    assert {each["kind"]: (each["count"], each["median_ms"]) for each in told["steps"]} == {
        "decode": (9, 8.0),
        "prefill": (1, 40.0),
    }
    assert told["requests"] == {"added": 1} and len(told["load"]) == 2
    assert told["http"] == [
        {"path": "POST /v1/completions", "status": 200, "count": 1},
        {"path": "POST /v1/completions", "status": 500, "count": 1},
    ]


def test_a_terminal_gets_tables_and_a_verdict() -> None:
    result = run("-", stdin=WHOLE)
    assert result.returncode == 0
    for words in ("Decode steps by batch size", "captures CUDA graphs", "the slowest VllmWorker 1", "Load over time"):
        assert words in result.stdout


def test_a_page_escapes_what_the_log_says(tmp_path: Path) -> None:
    log, page = tmp_path / "a.log", tmp_path / "a.html"
    log.write_text(WHOLE + DEATH + "ValueError: <script>alert(1)</script>\n")
    result = run(str(log), "--html", str(page))
    text = page.read_text()
    assert f"Wrote {page}" in result.stdout and "<svg" in text
    assert "<script>" not in text and "&lt;script&gt;" in text
    assert (
        run(str(log), "--html", str(page)).returncode == 2
        and run(str(log), "--html", str(page), "--force").returncode == 1
    )


@pytest.mark.parametrize("name", ["/no/such.log", "-", "/"])
def test_no_log_is_said_in_a_line(name: str) -> None:
    result = run(name, stdin="")
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1 and "Traceback" not in result.stderr
    assert result.stderr.startswith("error: standard input is empty; " if name == "-" else f"error: {name}: ")


@pytest.mark.parametrize("log", ['{"a": 1}\n', "GET / 200\nGET / 200\n", "\0\1\2"])
def test_another_programs_log_is_said_to_be_none(log: str) -> None:
    result = run("-", stdin=log)
    assert result.returncode == 2 and not result.stdout
    assert result.stderr.startswith("error: no line of standard input is one that vLLM's server writes")


@pytest.mark.parametrize("words", [("--html", "x.html"), ("--force",)])
def test_a_page_needs_a_log(words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "probes.serve", "/no/such/model", *words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2 and f"{words[0]} goes with --explain LOG" in result.stderr


def test_a_page_that_cannot_be_written_is_said_in_a_line() -> None:
    result = run("-", "--html", "/no/such/folder/x.html", stdin=WHOLE)
    said = "error: cannot write /no/such/folder/x.html: No such file or directory\n"
    assert (result.returncode, result.stderr) == (1, said)


@pytest.mark.parametrize("words", [("--keep",), ("--url", "localhost"), ("--max-len", "8"), ("--record", "there")])
def test_what_is_of_a_server_is_refused_beside_a_log(words: tuple[str, ...]) -> None:
    result = run("-", *words, stdin=WHOLE)
    assert result.returncode == 2 and f"{words[0]} is of a server that is asked" in result.stderr


def test_a_long_log_is_read_in_bounded_memory() -> None:
    class Long(io.RawIOBase):
        """Blocks of lines, over and over: 7 MB in all."""

        def __init__(self) -> None:
            self.blocks = self._blocks()

        def _blocks(self) -> Iterator[bytes]:
            for number in range(16):
                lines = (step(number, (0, 0), (number % 50 + 1, 1), 5.0 + number + at / 7) for at in range(300))
                yield ("\n".join([*lines, f"ValueError: request {number}"]) + "\n").encode() * 4

        def read(self, size: int = -1) -> bytes:
            return next(self.blocks, b"")

    tracemalloc.start()
    explained = explain(Long())[""]  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert explained.steps.count == 16 * 300 * 4 and peak < 4e6


@pytest.mark.parametrize("line", SOURCE_LINES, ids=lambda line: line.line[:40])
def test_vllm_says_the_lines_that_are_read(line) -> None:
    packages = Path(sysconfig.get_paths()["purelib"])
    assert not [each.nearest for each in reworded([line], packages)]
