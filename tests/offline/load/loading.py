"""Starts load runs on fake variants, and looks at what they leave."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

from probes.checkpoint import two_layer_model

ROOT = Path(__file__).resolve().parents[3]


def start(out: Path, *words: str, variants: str = "", **env: str) -> subprocess.Popen[str]:
    """Start a run; `variants` is the text of a file of them, each with `kind = "torch"`."""
    file = out / "variants.toml"
    out.mkdir(exist_ok=True)
    if variants:
        file.write_text(variants)
        words = (*words, "--variants-file", str(file))
    return subprocess.Popen(
        [sys.executable, "-m", "tests.offline.load.fake_load", "--out", str(out), *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
    )


def run(out: Path, *words: str, variants: str = "", **env: str) -> tuple[int, str]:
    """Run to the end: exit code and everything that was printed."""
    process = start(out, *words, variants=variants, **env)
    text, _ = process.communicate(timeout=300)
    return process.returncode, text


def small(*words: str) -> tuple[str, ...]:
    """Arguments of a run of a second a level."""
    return ("--model", str(two_layer_model()), "--load-format", "dummy", "--duration", "1s", *words)


def only_run(out: Path) -> Path:
    """The folder of the one run under `out`."""
    (path,) = out.glob("*/load/*/run.json")
    return path.parent


def processes_of(out: Path) -> list[psutil.Process]:
    """The processes that log below a folder and still run."""
    found = []
    for process in psutil.process_iter():
        try:
            log = os.readlink(f"/proc/{process.pid}/fd/1")
        except OSError:
            continue
        if log.startswith(str(out.resolve())) and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found
