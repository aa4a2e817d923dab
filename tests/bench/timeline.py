"""Processor time and memory to load and merge generated trace folders of three processes, and how they grow."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.sites.engine import SITES

STEP_NS = 5_000_000
SPANS_A_STEP = 40


def generate(folder: Path, spans: int) -> None:
    """`spans` spans over a front end, a core and a worker, with a batch of 16 requests a step."""
    for pid, role in enumerate(("front end", "core", "worker"), 1):
        codes = np.array([code for code, site in enumerate(SITES) if site.role == role], np.uint16)
        count = spans // 3
        starts = np.arange(count, dtype=np.int64) * (STEP_NS // SPANS_A_STEP)
        writer = TraceWriter(folder, pid, [role])
        writer.many(codes[np.arange(count) % len(codes)], starts, starts + 10_000, starts // STEP_NS)
        if role == "core":
            for step in range(count // SPANS_A_STEP):
                writer.batch(step, {f"request-{number}": 1 for number in range(16)})
        writer.close()


def load(folder: Path) -> None:
    """Read a folder and print its spans, the processor's seconds, and this process's peak memory in bytes."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    read = timeline.read(folder)
    took = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(len(read.spans), took, before * 1024, peak * 1024)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="example: python tests/bench/timeline.py --spans 1000000"
    )
    parser.add_argument("--spans", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.load:
        load(args.load)
        return
    for spans in args.spans:
        with tempfile.TemporaryDirectory() as scratch:
            generate(Path(scratch), spans)
            rows = []
            for _ in range(args.rounds):
                command = [sys.executable, __file__, "--load", scratch]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                rows.append([float(word) for word in done.stdout.split()])
        seconds, peaks = [row[1] for row in rows], [row[3] / 2**30 for row in rows]
        count, before_gib = rows[0][0], rows[0][2] / 2**30
        print(
            f"{count:>12,.0f} spans: {min(seconds):.2f} to {max(seconds):.2f} s of a core, peak {max(peaks):.2f} GiB "
            f"({before_gib:.2f} before reading); {min(seconds) / count * 1e9:.0f} ns a span",
            flush=True,
        )


if __name__ == "__main__":
    main()
