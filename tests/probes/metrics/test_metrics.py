"""`probes.metrics`, the command, against a local port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.probes.metrics.metrics_server import Engines, serving
from tests.probes.metrics.metricscommand import ROOT, run
from tests.shells import until


def test_the_command_prints_deltas() -> None:
    server = Engines(("0", "1"))
    server.work("0")
    looks: list[None] = []

    def answer() -> str:
        if looks:
            server.work("0")
            server.work("1")
        looks.append(None)
        return server.text()

    with serving(answer) as url:
        done = run(url, "--seconds", "0.2")
    assert (done.returncode, done.stderr, len(looks)) == (0, "", 2)
    assert "80 of 200 prompt tokens" in done.stdout
    assert "8 (length 2, stop 6)" in done.stdout
    assert "engine 0: running 3" in done.stdout and "engine 1: running 3" in done.stdout
    assert "above 200 ms" in done.stdout
    assert not [line for line in done.stdout.splitlines() if line.endswith(" ")]


def test_a_server_without_times_has_no_table_of_them() -> None:
    with serving(lambda: "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 1.0\n") as url:
        done = run(url, "--seconds", "0.1")
    assert done.returncode == 0 and "running" in done.stdout and "P99" not in done.stdout


def test_json_during_a_command(tmp_path) -> None:
    server = Engines()
    mark = tmp_path / "ran"

    def answer() -> str:
        if mark.exists():
            server.work()
        return server.text()

    with serving(answer) as url:
        done = run(url, "--json", "--during", "sh", "-c", f"echo spoken; touch {mark}; exit 4")
    assert done.returncode == 3
    assert "spoken" in done.stderr and "ended with code 4" in done.stderr
    values = json.loads(done.stdout)
    assert values["generation_tokens"] == 64
    assert values["times"]["itl"]["p99"] == {"value_s": 0.2, "above": True, "below": False, "bucket_s": [0.2, None]}
    assert list(values["engines"]) == ["0"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((200, "# TYPE up gauge\nup 1\n"), "none of vLLM's"),
        ((200, "<!DOCTYPE html>"), "not Prometheus text"),
        ((404, "nothing"), "answers 404"),
        ((500, "broken"), "answers 500"),
    ],
)
def test_no_vllm_there_is_one_line(answer, error) -> None:
    with serving(lambda: answer) as url:
        done = run(url, "--seconds", "0.1")
    assert done.returncode == 1
    assert error in done.stderr and done.stderr.count("\n") == 1


def test_refused_is_one_line() -> None:
    done = run("127.0.0.1:9")
    assert done.returncode == 1
    assert "Connection refused" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [("--seconds", "0"), ("--seconds", "nan"), ("--during",), ("--during", "no-such-command-here"), ("--what",)],
)
def test_bad_usage(words) -> None:
    with serving(Engines().text) as url:
        done = run(url, *words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def start(*words: str, **options) -> subprocess.Popen[str]:
    """The command, still running."""
    line = [sys.executable, "-m", "probes.metrics", *words]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_watch_prints_lines_survives_a_silence_and_ends_with_ctrl_c() -> None:
    server = Engines()
    looks: list[None] = []

    def answer() -> str | tuple[int, str]:
        looks.append(None)
        server.work()
        return (503, "starting") if len(looks) == 3 else server.text()

    with serving(answer) as url:
        watching = start(url, "--watch", "--seconds", "0.2")
        assert watching.stdout is not None
        lines = [watching.stdout.readline() for _ in range(3)]
        watching.send_signal(signal.SIGINT)
        _, error = watching.communicate(timeout=120)
    assert watching.returncode == 0 and error == ""
    assert "finished 4 (length 1, stop 3)" in lines[0]
    assert "answers 503" in lines[1]
    assert "finished 8 (length 2, stop 6)" in lines[2]  # the window spans the silence


def smi(folder: Path) -> dict[str, str]:
    """An environment in which `nvidia-smi` knows one GPU, and no binding is installed."""
    for binding in ("pynvml", "amdsmi"):
        (folder / f"{binding}.py").write_text("raise ImportError")
    cases = '--query-gpu=index*) echo "0, GPU-a, H100, 1, 2";; --query-gpu=uuid*) echo "GPU-a, 87, 412.3, [N/A]";;'
    (folder / "nvidia-smi").write_text(f'#!/bin/sh\ncase "$1" in {cases} esac\n')
    (folder / "nvidia-smi").chmod(0o755)
    return os.environ | {"PATH": f"{folder}:{os.defpath}", "PYTHONPATH": str(folder)}


def test_gpus_are_sampled_over_the_window_where_a_driver_knows_one(tmp_path: Path) -> None:
    with serving(Engines().text) as url:
        done, without = (run(url, "--seconds", "2.5", *word, env=smi(tmp_path)) for word in ((), ("--no-gpus",)))
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("GPU"))
    assert line.startswith("GPU 0  H100: 87 % busy, 412 W, clock unknown, 50.0 % of its memory (mean of ")
    assert "GPU" not in without.stdout


def test_gpus_are_part_of_json_lines(tmp_path: Path) -> None:
    with serving(Engines().text) as url:
        done = run(url, "--seconds", "2.5", "--gpus", "--json", env=smi(tmp_path))
    [gpu] = json.loads(done.stdout)["gpus"]
    assert gpu["activity"] == {"utilization_percent": 87.0, "power_w": 412.3, "clock_mhz": None}


def test_gpus_of_another_machine_are_not_ours() -> None:
    done = run("gpu-box:8000", "--gpus")
    assert done.returncode == 2
    assert "--gpus reads this machine's GPUs, and gpu-box is another: run it there" in done.stderr


def test_watch_as_json_lines() -> None:
    with serving(Engines().text) as url:
        watching = start(url, "--watch", "--json", "--seconds", "0.2")
        assert watching.stdout is not None
        values = json.loads(watching.stdout.readline())
        watching.terminate()
        watching.communicate(timeout=120)
    assert watching.returncode == 0
    assert values["running"] == 0


def test_watch_on_a_terminal_is_live() -> None:
    import pty

    mine, theirs = pty.openpty()
    server = Engines()
    with serving(server.text) as url:
        line = [sys.executable, "-m", "probes.metrics", url, "--watch", "--seconds", "0.2"]
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "140", "LINES": "50"}
        watching = subprocess.Popen(line, cwd=ROOT, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        screen = b""
        while screen.count(b"TTFT") < 2:
            screen += os.read(mine, 65536)
        watching.send_signal(signal.SIGINT)
        while True:  # the terminal must be drained for the command to end
            try:
                screen += os.read(mine, 65536)
            except OSError:
                break
        assert watching.wait(timeout=120) == 0
    os.close(mine)
    assert b"\x1b[" in screen and b"Traceback" not in screen


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_command_that_is_spanned(tmp_path, ending) -> None:
    mark = tmp_path / "pid"
    with serving(Engines().text) as url:
        spanning = start(url, "--during", "sh", "-c", f"sleep 100 & echo $! > {mark}.new; mv {mark}.new {mark}; wait")
        until(mark.exists)
        spanning.send_signal(ending)
        _, error = spanning.communicate(timeout=120)
    assert spanning.returncode == 130 and error == "interrupted\n"
    assert not Path(f"/proc/{mark.read_text().strip()}").exists()
