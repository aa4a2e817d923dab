"""Programs of `traced/` recorded on the real engine, and the reviews of what was recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from probes.checkpoint import two_layer_model
from probes.privacy.secretvalues import is_secret

ROOT = Path(__file__).resolve().parents[2]
# The engine's core and workers are forked, which spares two of three imports of vLLM: for whatever does not look at the
# start method. A spawned worker gets its number of OpenMP threads by its environment, a forked one has the parent's.
FORKED = {"PYTHONPATH": str(ROOT / "tests" / "engine" / "forking"), "OMP_NUM_THREADS": "1"}
# All in one process: where the engine's split into processes is not what is tested.
IN_PROCESS = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
LIMIT_S = 900  # below pytest's own limit, so that a failure shows what the command printed


@dataclass(frozen=True)
class Trace:
    """A trace folder, and how the recorded command ended."""

    folder: Path
    completed: subprocess.CompletedProcess[str]

    @cached_property
    def review(self) -> dict[str, Any]:
        """The review as the command writes it, made once."""
        return reviewed(self.folder)


def record(
    folder: Path, *command: str, options: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command under the recorder; its output is kept.

    This machine's keys are left out: nsys's report is deleted where one is set.
    """
    recorder = [sys.executable, "-m", "tracing.record", "--out", str(folder), *options, "--", *command]
    public = {name: value for name, value in os.environ.items() if not is_secret(name, value)}
    return subprocess.run(recorder, cwd=ROOT, env=public | environment, capture_output=True, text=True, timeout=LIMIT_S)


def record_program(
    name: str, folder: Path, *arguments: str, options: tuple[str, ...] = (), **environment: str
) -> Trace:
    """Record a program of `traced/` on the two-layer model."""
    script = ROOT / "tests" / "engine" / "traced" / f"{name}.py"
    command = (sys.executable, str(script), str(two_layer_model()), *arguments)
    return Trace(folder, record(folder, *command, options=options, **environment))


def reviewed(folder: Path) -> dict[str, Any]:
    """The review of a folder, as the command writes it; what it prints has to be there too."""
    command = [sys.executable, "-m", "tracing.review", str(folder), "--perfetto", str(folder / "trace.pftrace")]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S)
    assert completed.returncode == 0, completed.stderr
    assert "where a request's time goes" in completed.stdout
    assert (folder / "review.html").stat().st_size > 10_000
    review: dict[str, Any] = json.loads((folder / "review.json").read_text())
    assert review["dropped_spans"] == 0
    assert {"front end", "core", "worker"} <= set(review["roles"])
    return review
