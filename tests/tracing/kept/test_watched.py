"""Triggers without anybody there: asked for by the environment of a server, or around a command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from enginescope_plugin import KEEP, KEEP_IN, TRACE
from tracing.kept.keeping import kept

ROOT = Path(__file__).resolve().parents[3]
# A front end as vLLM starts it, with a slow call again and again, until one was kept or a minute is over.
SERVER = """
import sys, time
from pathlib import Path
import enginescope_plugin
from tracing.events.layout import CALLED, YIELDED
from tracing.sites.engine import CODES
enginescope_plugin.load()
recorder = enginescope_plugin.hooks_module("_recorder")
begun, code, call = time.monotonic(), CODES["async.generate"], 0
while time.monotonic() < begun + 60 and not list(Path(sys.argv[1]).glob("*/kept.json")):
    call, now = call + 1, time.monotonic_ns()
    recorder.span(code, now - 2_000_000_000, f"request-{call}", CALLED, call << 1, None, now - 2_000_000_000)
    recorder.span(code, now - 1, f"request-{call}", YIELDED, call << 1 | 1, None, now)
    time.sleep(0.05)
"""


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != TRACE} | more


def run(command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=90,
    )


def test_a_server_keeps_by_its_environment(tmp_path: Path) -> None:
    out = tmp_path / "kept"
    done = run([sys.executable, "-c", SERVER, str(out)], **{KEEP: "preempted; ttft > 1s", KEEP_IN: str(out)})
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert {keep.condition for _, keep in kept(out)} == {"ttft > 1s"}
    assert f"next: python -m tracing.kept {out}" in done.stderr  # of the keeper, which ends after the server


def test_a_server_with_a_wrong_condition_runs_on(tmp_path: Path) -> None:
    server = SERVER.replace("begun + 60", "begun + 0.1")
    done = run([sys.executable, "-c", server, str(tmp_path)], **{KEEP: "slow"})
    assert done.returncode == 0 and "error: 'slow' is no condition" in done.stderr


def test_around_a_command(tmp_path: Path) -> None:
    out = tmp_path / "kept"
    options = ["--keep", "preempted", "--keep", "ttft > 1s", "--ring", "8MiB", "--out", str(out)]
    command = [sys.executable, "-m", "tracing.record", *options, "--", sys.executable, "-c", SERVER, str(out)]
    done = run(command)
    assert done.returncode == 0, done.stderr
    assert {keep.condition for _, keep in kept(out)} == {"ttft > 1s"}
    assert f"next: python -m tracing.kept {out}" in done.stderr


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--keep", "slow"], "error: 'slow' is no condition"),
        (["--keep", "error", "--standby"], "error: --standby keeps no ring"),
    ],
)
def test_what_is_refused_before_the_command_runs(tmp_path: Path, options: list[str], line: str) -> None:
    mark = tmp_path / "ran"
    done = run([sys.executable, "-m", "tracing.record", *options, "--", "touch", str(mark)])
    assert done.returncode == 2 and done.stderr.startswith(line) and not mark.exists()
