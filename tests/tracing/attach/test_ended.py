"""An engine that has ended is neither recorded nor watched, and a process that is no engine is refused."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tracing.attach.standingprocess import ROOT, CountingProcess, counting, folder_of
from tracing.events.standing import read
from tracing.pyspy import samples

PYTHON = [sys.executable, "-m"]
NO_ENGINE = "error: there is no vLLM in process {pid}, nor in one that it has started; try: ps -ef | grep VLLM\n"


@contextmanager
def engine(base: Path, standby: bool) -> Iterator[CountingProcess]:
    """A process that made its standing folder itself, among those of this user in `base`."""
    room = base / f"enginescope-{os.getuid()}"
    room.mkdir()
    folder = folder_of(room, standby)
    said = read(folder)
    assert said is not None
    with counting(folder, pause_s=0.01) as process:
        replace(said, pid=process.pid).write(folder)
        yield process


def ended(base: Path, standby: bool) -> int:
    """The process id of such an engine that was killed; its folder is there still."""
    with engine(base, standby) as process:
        process.end(signal.SIGKILL)
    return process.pid


def run(base: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"TMPDIR": str(base)}
    return subprocess.run([*PYTHON, *words], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120)


def said_of(pid: int) -> str:
    dump = f"python -m tracing.attach {pid} --dump"
    return f"error: the engine (pid {pid}) has ended; what its rings held last is there still: {dump}\n"


@pytest.mark.parametrize("options", [["tracing.top"], ["tracing.attach", "--seconds", "2"]])
def test_of_a_dead_engine_only_the_rings_are_there(tmp_path: Path, options: list[str]) -> None:
    pid = ended(tmp_path, standby=False)
    done = run(tmp_path, options[0], str(pid), *options[1:], *(["--out", str(tmp_path / "no")] if options[1:] else []))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said_of(pid))
    assert not (tmp_path / "no").exists()
    done = run(tmp_path, "tracing.attach", str(pid), "--dump", "--out", str(tmp_path / "out"), "--partial")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("events-*.bin"))) == 1


@pytest.mark.parametrize("options", [["tracing.top"], ["tracing.attach"], ["tracing.attach", "--dump"]])
def test_of_a_dead_engine_in_standby_nothing_is_there(tmp_path: Path, options: list[str]) -> None:
    pid = ended(tmp_path, standby=True)
    done = run(tmp_path, options[0], str(pid), *options[1:])
    line = f"error: the engine (pid {pid}) has ended; it was in standby, and kept no ring\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)


def test_top_ends_with_the_engine(tmp_path: Path) -> None:
    """It went on for ever, with no request and no step."""
    pipe = subprocess.PIPE
    with engine(tmp_path, standby=False) as process:
        command, environ = [*PYTHON, "tracing.top", str(process.pid)], os.environ | {"TMPDIR": str(tmp_path)}
        with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=pipe, stderr=pipe, text=True) as top:
            try:
                assert top.stdout is not None and "steps/s" in top.stdout.readline()
                process.end(signal.SIGKILL)
                _, errors = top.communicate(timeout=120)
            finally:
                top.kill()
    assert (top.returncode, errors) == (1, said_of(process.pid))


def test_a_recording_ends_with_the_engine(tmp_path: Path) -> None:
    out, environ = tmp_path / "out", os.environ | {"TMPDIR": str(tmp_path)}
    with engine(tmp_path, standby=False) as process:
        command = [*PYTHON, "tracing.attach", str(process.pid), "--seconds", "3600", "--out", str(out), "--partial"]
        with subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True) as attach:
            try:
                assert attach.stderr is not None and attach.stderr.readline().startswith(
                    "recording 1 process for 3600 s"
                )
                process.end(signal.SIGKILL)
                _, errors = attach.communicate(timeout=120)
            finally:
                attach.kill()
    assert attach.returncode == 0 and errors.startswith("the engine has ended\n"), errors
    assert len(list(out.glob("events-*.bin"))) == 1


def test_ctrl_c_ends_samples_of_what_is_not_in_standby_in_order(tmp_path: Path) -> None:
    out, loop = tmp_path / "out", "print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", loop], stdout=subprocess.PIPE, text=True) as busy:
        try:
            assert busy.stdout is not None and busy.stdout.readline() == "\n"
            command = [*PYTHON, "tracing.attach", str(busy.pid), "--seconds", "60", "--out", str(out)]
            pipe = subprocess.PIPE
            with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as attach:
                assert attach.stderr is not None and "py-spy samples it" in attach.stderr.readline()
                assert attach.stderr.readline() == "sampling for 60 s; Ctrl-C ends it sooner\n"
                attach.send_signal(signal.SIGINT)
                output, errors = attach.communicate(timeout=120)
        finally:
            busy.kill()
    assert attach.returncode == 0 and re.search(r"^stopped after [\d.]+ of 60 s$", errors, re.M), errors
    assert output.startswith(f"Wrote {out}\n")


@pytest.mark.parametrize("module", ["tracing.attach", "tracing.top"])
def test_a_shell_is_no_engine(tmp_path: Path, module: str) -> None:
    """Not even one that has started the command which looks at it."""
    command = f"{sys.executable} -m {module} $$ --seconds 1; exit $?"
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        ["bash", "-c", command], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as shell:
        output, errors = shell.communicate(timeout=120)
    assert (shell.returncode, output, errors) == (1, "", NO_ENGINE.format(pid=shell.pid))
    assert not list(tmp_path.iterdir())


def test_of_what_a_shell_has_started_we_are_none(tmp_path: Path) -> None:
    out = tmp_path / "trace"
    loop = "import os, time; print(os.getpid(), flush=True)\nwhile time.sleep(0.001) is None: pass"
    script = '"$1" -c "$2" & "$1" -m tracing.attach $$ --seconds 1 --out "$3"; code=$?; kill $!; exit $code'
    command = ["bash", "-c", script, "bash", sys.executable, loop, str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    [other] = [int(line) for line in done.stdout.splitlines() if line.isdecimal()]
    assert set(samples.read(out).frame["pid"]) == {other}
