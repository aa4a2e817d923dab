"""Starts sweeps for tests and looks at what they leave: exit code, words, records, processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import psutil

from probes.processes.sidethread import beside

ROOT = Path(__file__).resolve().parents[3]
FAKE = ROOT / "tests" / "fake_vllm"
SMALL = ("--load-format", "dummy", "--input-len", "96", "--shared-prefix-len", "64", "--output-len", "8")
SMALL += ("--repeats", "2", "--starts", "1")
# On the stand-in: two arms of two cells, three trials of each.
GRID = ("--load-format", "dummy", "--batch-size", "1,3", "--block-size", "32,64", "--prefix-caching", "off")
GRID += ("--input-len", "40", "--shared-prefix-len", "8", "--output-len", "6", "--repeats", "3")
GRID += ("--starts", "1")
# Three arms of two cells; where two fit, in two groups a start: the first arm with each of the others.
THREE_ARMS = (*GRID, "--block-size", "32,64,128", "--repeats", "2", "--starts", "2")
SHARED = re.compile(r"(?<=/dev/shm/)(?:psm_|enginescope-(?!\d+\b))\w+")
STARTED: set[Path] = set()  # the folders that sweeps of this process write to


def start(
    out: Path,
    *words: str,
    fake: bool = False,
    program: tuple[str, ...] = ("-m", "offline.sweep"),
    stdout: int | IO[str] = subprocess.PIPE,
    stderr: int = subprocess.STDOUT,
    **env: str,
) -> subprocess.Popen[str]:
    """Start a sweep; with `fake`, on the stand-in for vLLM."""
    STARTED.add(out.resolve())
    environment = dict(os.environ) | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"} | env
    paths = [str(FAKE)] if fake else []
    if "PYTHONPATH" in env:
        paths.append(env["PYTHONPATH"])
    environment["PYTHONPATH"] = os.pathsep.join([*paths, str(ROOT)])
    return subprocess.Popen(
        [sys.executable, *program, "--out", str(out), *words],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        text=True,
        env=environment,
        cwd=ROOT,
    )


def run(out: Path, *words: str, limit_s: float = 900, **settings: Any) -> tuple[int, str]:
    """Run a sweep to its end: exit code and everything it printed."""
    process = start(out, *words, **settings)
    text, _ = process.communicate(timeout=limit_s)
    return process.returncode, text


def only_run(out: Path) -> Path:
    """The folder of the one run under `out`."""
    (path,) = out.glob("*/*/*/run.json")
    return path.parent


def records(folder: Path, kind: str = "trial") -> list[dict[str, Any]]:
    """The whole records of a kind."""
    file = folder / "records.jsonl"
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    return [r for r in map(json.loads, lines) if r["kind"] == kind]


def trials(folder: Path) -> list[tuple[str, int, int]]:
    """What tells trials apart: cell, index and seed."""
    return [(r["cell"], r["trial"], r["seed"]) for r in records(folder)]


def left_behind() -> list[str]:
    """Processes of the arms and engines started here that still run: there must be none after any sweep.

    They are known by where they log to: other sweeps on the machine are none of ours.
    """
    commands = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = " ".join(process.info["cmdline"] or [])
        arm = "offline.engine.arm" in words or words.startswith("VLLM::")
        if arm and process.info["status"] != psutil.STATUS_ZOMBIE and STARTED & {*output_of(process).parents}:
            commands.append(words)
    return commands


def output_of(process: psutil.Process) -> Path:
    """The file that a process writes its standard output to; an empty path once it is gone."""
    try:
        return Path(os.readlink(f"/proc/{process.pid}/fd/1"))
    except OSError:
        return Path()


def nothing_left(within_s: float = 60) -> bool:
    """Whether all processes of arms are gone, now or soon."""
    deadline = time.monotonic() + within_s
    while left_behind() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not left_behind()


@contextlib.contextmanager
def shared_memory() -> Iterator[set[str]]:
    """The blocks of shared memory that processes started in the block use: it fills up while they run.

    Those of other tests, which run at the same time, are not looked at.
    """
    names: set[str] = set()

    def look(ended: threading.Event) -> None:
        while not ended.wait(0.1):
            for child in psutil.Process().children(recursive=True):
                names.update(SHARED.findall(words_of(child.pid)))

    with beside(look, "shared memory"):
        yield names


def words_of(process_id: int) -> str:
    """The files that a process maps, and its environment; nothing once it is gone."""
    with contextlib.suppress(OSError):
        folder = Path(f"/proc/{process_id}")
        return "".join((folder / name).read_text(errors="replace") for name in ("maps", "environ"))
    return ""
