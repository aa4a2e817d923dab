"""The end of a recording: engines that outlive the command, commands that record nothing, what is said of it all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from probes.programs import program
from tests.shells import until
from tests.tracing.stories import stream
from tests.tracing.traces import TraceWriter, process_file
from tracing.breakdown.findings import one_line
from tracing.breakdown.problems import empty_files
from tracing.record import watched
from tracing.record.command import with_plugin
from tracing.record.summary import next_command, summary
from tracing.timeline import read

ROOT = Path(__file__).resolve().parents[3]


def record(folder: Path, *command: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    recorder = [*before, sys.executable, "-m", "tracing.record", "--out", str(folder), "--", *command]
    return subprocess.run(recorder, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_signal_cuts_the_wait_for_an_engine_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen(["sleep", "60"]) as engine:
        process_file(tmp_path, engine.pid, serves=["core", "core input"], stopped_ns=None)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        begin = time.monotonic()
        assert watched.linger(tmp_path) == [f"core {engine.pid}"]
        assert time.monotonic() - begin < watched.LINGER_S
        assert f"waiting up to 10 s for core {engine.pid}" in capsys.readouterr().err
        engine.kill()


def test_a_process_that_only_waits_to_be_reaped_is_not_waited_for(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as engine:
        os.waitid(os.P_PID, engine.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is a zombie
        process_file(tmp_path, engine.pid, stopped_ns=None)
        assert watched.alive(tmp_path) == []


@pytest.mark.skipif(program("py-spy") is None, reason="no py-spy here: pip install py-spy")
def test_a_command_that_cannot_be_started_leaves_nothing_of_its_sampler(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tracing.record", "--py-spy", "--out", str(tmp_path / "t"), "--", "no-such-program"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode in (1, 2) and not list(tmp_path.iterdir()), done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_command_begins_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """The recorder waits for a driver's program, which it asks for the machine's devices."""
    asked = tmp_path / "asked"
    for name in ("nvidia-smi", "amd-smi"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {asked}\nexec sleep 60\n")
        (tmp_path / name).chmod(0o755)
    command = [sys.executable, "-m", "tracing.record", "--out", str(tmp_path / "t"), "--", "true"]
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as recorder:
        until(asked.exists)
        assert (tmp_path / "t").exists()
        recorder.send_signal(number)
        assert recorder.communicate(timeout=60) == (None, "interrupted\n") and recorder.returncode == 130
    assert not (tmp_path / "t").exists()


def test_a_command_that_cannot_be_started_leaves_nothing(tmp_path: Path) -> None:
    done = record(tmp_path / "t", "no-such-program")
    assert done.returncode == 2 and "cannot run 'no-such-program'" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_command_without_an_engine_leaves_no_folder(tmp_path: Path) -> None:
    done = record(tmp_path / "t", "true")
    assert done.returncode == 1 and "no process of the command loaded enginescope" in done.stderr
    assert done.stderr.endswith("nothing was recorded, and no folder is left\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_of_a_command_that_a_signal_ended_no_reason_is_guessed(tmp_path: Path, number: signal.Signals) -> None:
    """It may have been about to load the hooks."""
    done = record(tmp_path / "t", "sh", "-c", f"kill -{number} $$")
    assert done.returncode == 128 + number
    assert done.stderr.splitlines() == [
        "INCOMPLETE: no process of the command had loaded enginescope when a signal ended it",
        f"the command ended with exit code {128 + number}",
        "nothing was recorded, and no folder is left",
    ]


@pytest.mark.skipif(program("py-spy") is None, reason="no py-spy here: pip install py-spy")
@pytest.mark.parametrize(("command", "code"), [("ssh host python x.py", 255), ("docker run image", 130)])
def test_no_signal_hides_a_reason_that_the_command_tells(tmp_path: Path, command: str, code: int) -> None:
    [line] = watched.missing(tmp_path, command.split(), code)
    assert " starts it without this environment; put the recorder behind it" in line


def test_samples_of_the_recorder_alone_are_no_recording(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tracing.record", "--py-spy", "--out", str(tmp_path / "t"), "--", "sleep", "1"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and not list(tmp_path.iterdir()), done.stderr


@pytest.mark.skipif(program("py-spy") is None, reason="no py-spy here: pip install py-spy")
def test_samples_of_a_command_without_an_engine_are_kept_and_read_next(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(3)"]
    words = [sys.executable, "-m", "tracing.record", "--py-spy", "--out", str(tmp_path / "t"), "--", *command]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and done.stderr.endswith(f"next: python -m tracing.pyspy {tmp_path / 't'}\n")


def test_the_first_signal_after_the_command_loses_no_summary(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with watched.patient():
        signal.raise_signal(signal.SIGINT)  # as at the second Ctrl-C, after the command has ended
        assert capsys.readouterr().err == "finishing the recording; Ctrl-C again leaves it unfinished\n"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_disk_without_room_is_one_line(tmp_path: Path) -> None:
    """No file may grow at all: what a write then meets is what it meets on a full disk."""
    done = record(tmp_path / "t", "true", before=("prlimit", "--fsize=0"))
    assert done.returncode == 1
    assert (
        done.stderr == f"error: cannot write {tmp_path / 't' / 'trace.json'}: File too large; name another with --out\n"
    )
    assert not list(tmp_path.iterdir())


def test_a_process_killed_at_birth_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "events-1.bin").touch()
    command = [sys.executable, "-m", "tracing.review", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert "Traceback" not in done.stderr and "process 1 left no description of itself" in lines
    assert "events-1.bin is empty: what its process did is not known" in lines
    assert any(line.startswith("no request was seen; 0 spans") for line in lines)


def test_a_lost_file_of_a_known_process_is_named(tmp_path: Path) -> None:
    stream(tmp_path, [5] * 40)
    (tmp_path / "events-10.bin").write_bytes(b"")
    timeline = read(tmp_path)
    assert empty_files(timeline) == ["events-10.bin is empty: what the front end did is not known"]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["env", "-i", "/usr/bin/python3", "x.py"], "env -i starts it without this environment"),
        (["sh", "-c", "cd /x && sudo -u ann python x.py"], "sudo starts it without this environment"),
        (["/usr/bin/ssh", "host", "python", "x.py"], "ssh starts it without this environment"),
        (["docker", "run", "vllm/vllm-openai"], "docker starts it without this environment"),
        (["env", "A=1", "my-program"], "it made no vLLM engine"),
        (["/usr/bin/env", "python3", "sudo.py"], "it made no vLLM engine"),
    ],
)
def test_why_no_process_loaded_the_hooks(command: list[str], reason: str) -> None:
    assert watched.why_none(command).startswith(reason)


LOADING = "import enginescope_plugin; enginescope_plugin.load()"


def test_a_recorder_inside_the_command_says_that_it_took_over(tmp_path: Path) -> None:
    """It is in a script: the command's words do not show it. What it recorded is there, and nothing else is said."""
    script, inner = tmp_path / "serve.sh", tmp_path / "inner"
    script.write_text(f'exec "{sys.executable}" -m tracing.record --partial --out {inner} -- "$@"\n')
    done = record(tmp_path / "outer", "sh", str(script), sys.executable, "-c", LOADING)
    reason = f"a recorder inside the command took over; what it recorded is in {inner}"
    assert f"INCOMPLETE: no process of the command loaded enginescope: {reason}\n" in done.stderr
    assert list(inner.glob("process-*.json")) and not (tmp_path / "outer").exists()


def test_a_recorder_inside_the_command_that_recorded_nothing_took_nothing_over(tmp_path: Path) -> None:
    inner = [sys.executable, "-m", "tracing.record", "--out", str(tmp_path / "inner"), "--", "true"]
    done = record(tmp_path / "outer", *inner)
    assert done.stderr.count("no process of the command loaded enginescope: it made no vLLM engine") == 2
    assert not list(tmp_path.iterdir())


def test_a_shadowing_package_is_no_reason(tmp_path: Path) -> None:
    (tmp_path / "tracing.py").write_text("mine = True")
    command = [sys.executable, str(tmp_path / "main.py")]
    assert watched.why_none(command) == "it made no vLLM engine, or runs in an environment without enginescope"


def test_the_summary_ends_with_the_next_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my traces"
    folder.mkdir()
    TraceWriter(folder, 2, ["core", "worker"]).span("core.step", 1, 2).close()
    assert summary(folder, 0, [], partial=False) == 0
    assert capsys.readouterr().err.splitlines()[-2:] == [
        f"Wrote '{folder}'",
        f"next: python -m tracing.review '{folder}'",
    ]


def test_the_next_command_names_what_is_left_of_nsys(tmp_path: Path) -> None:
    (tmp_path / "nsys.sqlite").touch()
    assert next_command(tmp_path, has_events=False) == f"tracing.nsys {tmp_path}/nsys.sqlite"
    (tmp_path / "nsys.nsys-rep").touch()  # with secrets in it, it is deleted
    assert next_command(tmp_path, has_events=False) == f"tracing.nsys {tmp_path}/nsys.nsys-rep"


def test_a_program_of_several_lines_takes_one() -> None:
    assert one_line("python -c 'import vllm\nprint(1)'") == "python -c 'import vllm …"
    assert one_line("python x.py") == "python x.py"


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [(None, None), ("", "enginescope"), ("other", "other,enginescope"), ("enginescope,other", "enginescope,other")],
)
def test_vllm_loads_the_plugin_whatever_plugins_were_chosen(chosen: str | None, expected: str | None) -> None:
    variables = {"HOME": "/"} if chosen is None else {"HOME": "/", "VLLM_PLUGINS": chosen}
    assert with_plugin(variables).get("VLLM_PLUGINS") == expected
