"""The recorder writes what was called, loses nothing to a SIGKILL, and never breaks what it watches."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracing.hooks.eventrecords import numbers, spans, texts, written
from tracing.events import layout
from tracing.hooks import _recorder
from tracing.sites.engine import CODES

ROOT = Path(__file__).resolve().parents[3]
INT64 = st.integers(-(2**63), 2**63 - 1)


@pytest.fixture
def file() -> Iterator[Path]:
    with written(most=1 << 17) as path:
        yield path


class Scheduler:
    def free(self, request: Any, answer: Any = None) -> Any:
        if answer == "raise":
            raise KeyError("no such request")
        return answer


def test_a_hooked_method_writes_a_span(file: Path) -> None:
    class Hooked(Scheduler):
        free = _recorder.Hook(Scheduler.free, 7, 1, "request", "request_id", lambda result, *_: (result, "done"))

    scheduler, request = Hooked(), SimpleNamespace(request_id="cmpl-7")
    _recorder.set_step(5)
    before = _recorder.now()
    assert scheduler.free(request, 3) == 3
    assert scheduler.free(answer=4, request=request) == 4
    first, second = spans(file)
    assert texts(file) == {1: "cmpl-7", 2: "done"}
    assert before <= first["start"] <= first["end"] <= second["start"] <= _recorder.now()
    assert (first["site"], first["request"], first["step"], first["value"], first["extra"]) == (7, 1, 5, 3, 2)
    assert (second["request"], second["value"]) == (1, 4)
    assert first["thread"] == threading.get_native_id()


def test_an_exception_passes_and_is_marked(file: Path) -> None:
    free = _recorder.Hook(Scheduler.free, 7)
    with pytest.raises(KeyError, match="no such request"):
        free(Scheduler(), None, "raise")
    assert [span["kind"] for span in spans(file)] == [layout.RAISED]


def test_without_a_file_a_hook_only_calls() -> None:
    assert _recorder.Hook(Scheduler.free, 7)(Scheduler(), None, 8) == 8


@settings(deadline=None)
@given(INT64, INT64, INT64, st.integers(0, 2**32 - 1), st.text(max_size=200))
def test_what_is_given_is_written(start: int, step: int, value: int, extra: int, request: str) -> None:
    with written() as path:
        _recorder.span(3, start, request, value, extra, step, 99, True)
        [span] = spans(path)
        wanted = {"site": 3, "start": start, "step": step, "value": value, "extra": extra, "end": 99}
        assert span | wanted == span and span["kind"] == layout.RAISED
        assert texts(path)[span["request"]] == request


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=60), st.integers(0, 2**32 - 1), max_size=50))
def test_a_batch_is_written_whole(batch: dict[str, int]) -> None:
    with written() as path:
        _recorder.batch(layout.BATCH, batch)
        [words] = numbers(path, layout.BATCH)
        known = texts(path)
        assert {known[name]: count for name, count in zip(words[::2], words[1::2], strict=True)} == batch


def test_threads_do_not_lose_spans(file: Path) -> None:
    hooked = _recorder.Hook(lambda: None, 1)
    threads = [threading.Thread(target=lambda: [hooked() for _ in range(5000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = spans(file)
    assert len(found) == 40_000 and len({span["thread"] for span in found}) == 8
    assert _recorder.counts() == (40_000 + 40_000 // 32 * 2, 0)  # beside each 32nd is what it cost, in two records


def test_memory_is_bounded_and_what_is_dropped_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "events.bin"
    _recorder.start(str(path), layout.SCHEMA, 0)
    room = (1 << 16) - 1  # and the header
    for _ in range(room + 10):
        _recorder.span(1, 1)
    _recorder.extend()
    assert _recorder.counts() == (room, 10)
    _recorder.stop()
    assert path.stat().st_size == (room + 1) * layout.RECORD.itemsize


def test_the_file_is_kept_ahead(file: Path) -> None:
    for _ in range(1 << 16):
        _recorder.span(1, 1)
    before = file.stat().st_size
    _recorder.extend()
    assert file.stat().st_size > before or before == (1 << 17) * layout.RECORD.itemsize


def test_a_full_disk_is_an_error_at_the_start_and_not_later(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        _recorder.start(str(tmp_path / "no" / "folder"), layout.SCHEMA, 0)


WATCHED = """
import os, signal, sys, threading, time
from tests.tracing.hooks.eventrecords import written, numbers, records, spans, texts
from tracing.hooks import _recorder, recorder
recorder.begin(sys.argv[1], ["core"])
hooked = _recorder.Hook(lambda: None, 1)
{body}
"""


def watched(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run `body` in a process that records into `folder`."""
    code = WATCHED.format(body=textwrap.dedent(body))
    return subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_a_sigkill_loses_nothing(tmp_path: Path) -> None:
    done = watched(
        tmp_path,
        """
        for _ in range(1000):
            hooked()
        os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    assert done.returncode == -signal.SIGKILL
    [path] = tmp_path.glob("events-*.bin")
    assert sum(span["site"] == 1 for span in spans(path)) == 1000
    [said] = tmp_path.glob("process-*.json")
    assert json.loads(said.read_text())["stopped_ns"] is None


def test_a_forked_child_has_a_file_and_a_keeper_of_its_own(tmp_path: Path) -> None:
    done = watched(
        tmp_path,
        """
        hooked()
        child = os.fork()
        hooked()
        if child == 0:
            hooked()
            print([thread.name for thread in threading.enumerate()], flush=True)
            recorder.end()
            os._exit(0)
        os.waitpid(child, 0)
        """,
    )
    assert done.returncode == 0 and "enginescope" in done.stdout, done.stderr
    counts = sorted(sum(span["site"] == 1 for span in spans(path)) for path in tmp_path.glob("events-*.bin"))
    assert counts == [2, 2]
    said = [json.loads(path.read_text()) for path in tmp_path.glob("process-*.json")]
    assert len({process["pid"] for process in said}) == 2
    assert all(process["stopped_ns"] for process in said)


def test_a_failure_inside_stops_the_recorder_and_nothing_else(tmp_path: Path) -> None:
    done = watched(
        tmp_path,
        """
        broken = _recorder.Hook(lambda: "answer", 1, numbers=lambda result: result.no_such_thing)
        print(broken(), broken(), hooked())
        """,
    )
    assert done.stdout == "answer answer None\n" and done.returncode == 0
    assert done.stderr.count("enginescope: the recorder stopped: AttributeError") == 1
    [said] = tmp_path.glob("process-*.json")
    assert "AttributeError" in json.loads(said.read_text())["error"]


def test_a_failure_that_nobody_can_be_told_of_is_nothing_to_the_engine(tmp_path: Path) -> None:
    done = watched(
        tmp_path,
        """
        from tracing.hooks.wrappers.guarded import safely
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, 2)
        print(safely(lambda: no_such_name), hooked())
        """,
    )
    assert done.stdout == "None None\n"
    [said] = tmp_path.glob("process-*.json")
    assert "NameError" in json.loads(said.read_text())["error"]


def test_nothing_is_written_while_paused(tmp_path: Path) -> None:
    """At once, from the first call after the switch's byte was changed."""
    (tmp_path / "switch").write_bytes(b"\0")
    done = watched(
        tmp_path,
        """
        from tracing.hooks._recorder import Hook, writing
        switch = open(sys.argv[1] + "/switch", "r+b", buffering=0)
        special = Hook(lambda: "original", 1, special=lambda original, args, kwargs: "special")
        for byte in b"\\0", b"\\1", b"\\0":
            switch.seek(0)
            switch.write(byte)
            hooked()
            print(writing(), special())
        """,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "special", "False", "original", "True", "special"]
    [path] = tmp_path.glob("events-*.bin")
    assert sum(span["site"] == 1 for span in spans(path)) == 2
    [said] = tmp_path.glob("process-*.json")
    assert json.loads(said.read_text())["dropped"] == 0


def test_a_stream_that_began_in_standby_is_watched_from_its_next_output_on(tmp_path: Path) -> None:
    (tmp_path / "switch").write_bytes(b"\1")
    done = watched(
        tmp_path,
        """
        import asyncio
        from tracing.hooks.wrappers.coroutines import async_generator
        async def outputs(request):
            for number in range(3):
                yield number
        async def read():
            stream = async_generator(outputs, 2, (0, "request", None))("mine")
            print(await anext(stream))
            with open(sys.argv[1] + "/switch", "r+b") as switch:
                switch.write(b"\\0")
            print([number async for number in stream])
        asyncio.run(read())
        """,
    )
    assert (done.returncode, done.stdout) == (0, "0\n[1, 2]\n"), done.stderr
    [path] = tmp_path.glob("events-*.bin")
    assert [span["value"] for span in spans(path) if span["site"] == 2] == [
        layout.YIELDED,
        layout.YIELDED,
        layout.ENDED,
    ]


def test_garbage_collections_are_spans(tmp_path: Path) -> None:
    watched(tmp_path, "import gc; gc.collect()")
    [path] = tmp_path.glob("events-*.bin")
    pauses = [span for span in spans(path) if span["site"] == CODES["gc"]]
    assert 2 in [pause["value"] for pause in pauses]


def test_a_forked_process_says_the_roles_of_what_it_becomes(tmp_path: Path) -> None:
    """As vLLM forks its core, whose `run_engine_core` is of `vllm.v1.engine.core`, and that its worker."""
    done = watched(
        tmp_path,
        """
        import multiprocessing
        fork = multiprocessing.get_context("fork")
        recorder.say(serves=["front end"])
        def start(target, module):
            target.__module__ = module
            process = fork.Process(target=target)
            process.start()
            process.join()
        def work():
            time.sleep(0.3)
        def run_core():
            time.sleep(0.3)
            start(work, "vllm.v1.executor.multiproc_executor")
        start(run_core, "vllm.v1.engine.core")
        start(work, "mine")
        """,
    )
    assert done.returncode == 0, done.stderr
    reports = [json.loads(path.read_text()) for path in tmp_path.glob("process-*.json")]
    front = next(report["pid"] for report in reports if "front end" in report["serves"] and report["stopped_ns"])
    roles = sorted(report["serves"] for report in reports if report["pid"] != front)
    assert roles == [["core", "core input", "core output"], ["front end"], ["worker"]]
