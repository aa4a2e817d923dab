"""All tests in three phases: those without an engine in parallel, those with one two at a time, and those alone.

An engine takes memory and cores, so that no more than two are started at once. What carries time bounds has the machine
to itself, in the last phase. What fails is run once more with the machine to itself, and the last lines say so: a
failure that does not come again was that of a machine with two engines on its cores, and is still named.

Example: python -m tests.phases -k machine
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import pytest

# One more than there are cores, since many tests wait for what they started; beyond 8 for the file that takes longest.
WORKERS = min(len(os.sched_getaffinity(0)) + 1, 8)
MOST_ENGINES = 2
ENGINES = "tests/engine"
AGAIN = ["--last-failed", "--last-failed-no-failures", "none", "--maxfail", "1", "-v"]
STOPPING = (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.USAGE_ERROR)  # the next phase would end the same way


@dataclass(frozen=True)
class Phase:
    """One call of pytest: its name, the marker of its tests, their folder, and how many workers run them (0: none)."""

    name: str
    marker: str
    folder: str
    workers: int = 0


@dataclass(frozen=True)
class Outcome:
    """How a phase ended: pytest's exit code, the wall time in seconds, and whether some tests failed at first."""

    phase: Phase
    code: int
    elapsed_s: float
    failed_at_first: bool = False

    def __str__(self) -> str:
        words = {0: "passed", 1: "FAILED", 5: "none selected"}.get(self.code, f"ended with exit code {self.code}")
        if self.failed_at_first and not self.code:
            words += ", but some FAILED at first and passed alone: see above"
        minutes, seconds = divmod(round(self.elapsed_s), 60)
        return f"{self.phase.name}: {words} ({minutes} min {seconds} s)"


def run(phase: Phase, marker: str, words: list[str]) -> Outcome:
    """Run one phase on the tests that also match `marker` (empty: all)."""
    marker = f"({marker}) and {phase.marker}" if marker else phase.marker
    print(f"== {phase.name}", flush=True)
    start = time.monotonic()
    # By file: tests of one file share what its fixtures make. In the order that `conftest.py` gives them.
    options = ["-n", str(phase.workers), "--dist", "loadfile", "--no-loadscope-reorder", "-m", marker]
    options += ["-o", f"testpaths={phase.folder}"]  # where no path is given; to collect the other tests takes long
    process = subprocess.Popen([sys.executable, "-m", "pytest", *options, *words])
    return Outcome(phase, process.wait(), time.monotonic() - start)


def run_again(phase: Phase, marker: str, words: list[str]) -> Outcome:
    """Run one phase, and what failed in it once more by itself, up to the first that fails again."""
    first = run(phase, marker, words)
    if first.code != pytest.ExitCode.TESTS_FAILED:
        return first
    alone = replace(phase, name=f"{phase.name}: what failed, once more and alone", workers=0)
    second = run(alone, marker, [*words, *AGAIN])
    code = first.code if second.code else 0
    return Outcome(phase, code, first.elapsed_s + second.elapsed_s, failed_at_first=True)


def exit_code(codes: list[int]) -> int:
    """The first failure's code; a phase without tests is no failure unless no phase had any."""
    empty = int(pytest.ExitCode.NO_TESTS_COLLECTED)
    failures = [code for code in codes if code not in (0, empty)]
    return failures[0] if failures else min(codes)


def main() -> int:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-m", dest="marker", default="")
    parser.add_argument("-n", dest="workers", type=int, default=WORKERS)
    options, words = parser.parse_known_args()
    signal.signal(signal.SIGINT, lambda *_: None)  # pytest closes its fixtures on Ctrl-C, and this process waits for it
    outcomes: list[Outcome] = []
    phases = (
        Phase("tests without an engine", "not engine", "tests", options.workers),
        Phase("tests on an engine", "engine and not alone", ENGINES, min(options.workers, MOST_ENGINES)),
        Phase("tests on an engine that has the machine to itself", "engine and alone", ENGINES),
    )
    for phase in phases:
        outcomes.append(run_again(phase, options.marker, words))
        if outcomes[-1].code in STOPPING:
            break
    print(*outcomes, sep="\n")
    return exit_code([outcome.code for outcome in outcomes])


if __name__ == "__main__":
    sys.exit(main())
