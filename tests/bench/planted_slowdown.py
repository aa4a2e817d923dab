"""How often a sweep of ten minutes finds that vLLM became 3 % slower, on a real engine.

One arm is the installed vLLM, the other a copy whose `Scheduler.schedule` spins for 3 % of the time that has gone by
since the step before, its own spin left out. Prints a Markdown table, a row a run; `lo` and `hi` are the ends of the
95 % interval. Nothing else should run on the machine meanwhile.

example: python tests/bench/planted_slowdown.py --runs 10 --out build/slowdown
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from offline.differences.run import HEADLINE
from offline.page.reported import reported_run
from offline.spec.grid import VLLM
from probes.checkpoint import two_layer_model
from tests.offline.environments.slowcopy import slow_copy
from tests.offline.sweep.sweeping import only_run, run

SPIN = """
import time
begun_ns = time.perf_counter_ns()
period_ns = begun_ns - getattr(self, "begun_ns", begun_ns)
self.begun_ns = begun_ns
while time.perf_counter_ns() - begun_ns < period_ns * 3 // 103 and period_ns < 200_000_000:  # longer: it was idle
    pass
"""
# 64 steps of some 3 ms a trial: many short ones tell more than few long ones. Six starts of each are planned.
GRID = ("--load-format", "dummy", "--engine", "kv_cache_memory_bytes=268435456", "--block-size", "32")
GRID += ("--prefix-caching", "off", "--batch-size", "8", "--input-len", "32", "--output-len", "64", "--repeats", "8")
HEAD = ("run", "ratio", "lo", "hi", "verdict", "could have found", "minutes")


def row(number: int, folder: Path, minutes: float) -> list[str]:
    """A line of the table: what a run says of the two environments."""
    [difference] = [each for each in reported_run(folder).differences.by_metric[HEADLINE].main if each.axis == VLLM]
    ends = [f"{value:.3f}" for value in (difference.ratio, difference.lo, difference.hi)]
    return [str(number), *ends, difference.verdict, f"{difference.smallest_detectable - 1:.1%}", f"{minutes:.1f}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10, help="of some ten minutes each (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/slowdown"), help="for the runs (default: %(default)s)")
    args = parser.parse_args()
    print("|", " | ".join(HEAD), "|\n|", " | ".join(["---"] * len(HEAD)), "|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        words = ("--model", str(two_layer_model()), *GRID, "--vllm", f"installed,{slow_copy(Path(name, 'slow'), SPIN)}")
        for number in range(1, args.runs + 1):
            began = time.monotonic()
            code, text = run(args.out / str(number), *words)
            assert code == 0, text
            print("|", " | ".join(row(number, only_run(args.out / str(number)), (time.monotonic() - began) / 60)), "|")
    return 0


if __name__ == "__main__":
    sys.exit(main())
