"""Processor seconds and memory to sum a generated torch trace over the spans of a generated trace folder, and to tell
its kernels by family.

The trace is synthetic: steps of operators that nest, launches, and kernels with arguments as long as those that torch
writes on a GPU. It has one step a millisecond, and so has the folder.
"""

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
from tests.tracing.torchsums.chrometraces import AHEAD_NS, BASE_NS
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown.kernels.summary import summary
from tracing.breakdown.kernels.work import with_kinds
from tracing.sites.engine import CODES
from tracing.timeline.steps.anatomy import anatomy
from tracing.torchsums import operators
from tracing.torchsums import trace as torchtrace

STEP_NS = 1_000_000
CALLS_A_STEP = 60
OPERATOR = """  {
    "ph": "X", "cat": "cpu_op", "name": "aten::op%d", "pid": 12, "tid": 1,
    "ts": %.3f, "dur": %.3f,
    "args": {
      "External id": %d,"Record function id": 0, "Sequence number": 0, "Fwd thread id": 0, "Ev Idx": %d
    }
  },
"""
LAUNCH = """  {
    "ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 12, "tid": 1,
    "ts": %.3f, "dur": 2.000,
    "args": { "External id": %d, "cbid": 211, "correlation": %d }
  },
"""
KERNEL = """  {
    "ph": "X", "cat": "kernel", "name": "void synthetic::elementwise_kernel<%d, float, std::array<char*, 2ul> >(int)",
    "pid": 0, "tid": 7, "ts": %.3f, "dur": 3.000,
    "args": {
      "External id": %d, "queued": 0, "device": 0, "context": 1, "stream": 7, "correlation": %d,
      "registers per thread": 32, "shared memory": 0, "blocks per SM": 1.5, "warps per SM": 6.0,
      "grid": [162, 1, 1], "block": [128, 1, 1], "est. achieved occupancy %%": 9
    }
  },
"""


def trace(path: Path, size: int) -> int:
    """Write a torch trace of about `size` bytes; its steps."""
    ahead_us, step = (AHEAD_NS - BASE_NS) / 1000, 0
    with path.open("w") as file:
        file.write(f'{{"schemaVersion": 1, "baseTimeNanoseconds": {BASE_NS}, "traceEvents": [\n')
        while file.tell() < size:
            for call in range(CALLS_A_STEP):
                at, number = ahead_us + step * STEP_NS / 1000 + call * 16, step * CALLS_A_STEP + call
                file.write(OPERATOR % (call, at, 14.0, number, number))
                file.write(OPERATOR % (call + 100, at + 1, 12.0, number, number))
                file.write(LAUNCH % (at + 5, number, number))
                file.write(KERNEL % (call, at + 20, number, number))
            step += 1
        file.write('  {"ph": "i", "s": "g", "name": "Record Window End", "pid": "", "tid": "", "ts": 1.0}\n]}\n')
    return step


def spans(folder: Path, steps: int) -> None:
    """A worker with `steps` steps, each of a prepare and a forward."""
    starts = np.arange(steps, dtype=np.int64) * STEP_NS
    writer = TraceWriter(folder, 12, ["worker"])
    for site, first, last in (
        ("worker.execute", 0, 990_000),
        ("runner.prepare", 0, 200_000),
        ("model.forward", 200_000, 980_000),
    ):
        codes = np.full(steps, CODES[site], np.uint16)
        writer.many(codes, starts + first, starts + last, np.arange(steps))
    writer.close(anchor={"monotonic_ns": 0, "wall_ns": AHEAD_NS, "uncertainty_ns": 40})


def load(folder: Path) -> None:
    """Sum a folder; print processor seconds, events, rows, and this process's MiB of memory before and at its peak."""
    read = timeline.read(folder)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    sums = operators.read(read)
    assert sums is not None and not sums.problems, sums
    kernels = summary(with_kinds(sums.work, anatomy(read)))
    took = time.process_time() - start
    assert sum(row.kernels for row in kernels.families) == len(sums.work)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(took, sums.names["count"].sum(), len(sums.names) + len(sums.steps), before / 1024, peak / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="example: python tests/bench/torchtrace.py --megabytes 1000"
    )
    parser.add_argument("--megabytes", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.load:
        load(args.load)
        return
    for megabytes in args.megabytes:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            path = folder / torchtrace.FOLDER / "rank0.json"
            path.parent.mkdir()
            steps = trace(path, megabytes * 10**6)
            spans(folder, steps)
            command = [sys.executable, __file__, "--load", scratch]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            took, events, rows, before, peak = map(float, done.stdout.split())
            print(
                f"{path.stat().st_size / 1e6:,.0f} MB, {events:,.0f} operators and kernels of {steps:,} steps: "
                f"{took:.0f} s ({path.stat().st_size / 1e6 / took:.0f} MB/s), {rows:,.0f} sums, "
                f"peak {peak:.0f} MiB ({before:.0f} before reading)",
                flush=True,
            )


if __name__ == "__main__":
    main()
