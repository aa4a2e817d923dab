"""The metrics command, and two texts as looks some seconds apart."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

from probes.metrics.exposition import Window, parse

ROOT = Path(__file__).resolve().parents[3]
INF = math.inf


def window(before: str, after: str, length_s: float = 10.0) -> Window:
    """Two texts as looks `length_s` apart."""
    return Window(parse(before, 100.0), parse(after, 100.0 + length_s))


def run(*words: str, **options) -> subprocess.CompletedProcess[str]:
    """The command."""
    line = [sys.executable, "-m", "probes.metrics", *words]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, **options)
