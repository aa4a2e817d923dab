"""Stalls put into a real engine by name: how many a trigger kept, and how many of those with the right reason.

What an injection leaves is kept in a folder of its own and not done again; all folders are judged at the end, without
an engine. Before the injections the engine is watched in quiet, under every condition: what is kept then is counted.
Each five minutes its rings' records and files and its processes' memory are looked at: it is a soak as well. The bench
itself comes before the engine where both want a core (as root): beside an engine that fills all cores Linux 6.18 let it
stand in the run queue for seconds (`chrt --rr 1` does the same for a watch by hand).

example: python tests/bench/stalls.py --runs 10 --folder build/stalls --table notes/tables/stalls.md
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench import enginesoak
from tests.bench.enginesoak import EngineSoak
from tests.bench.hangs import in_place
from tests.engine.tracing.stalledengine import STALLS, Stall, StalledEngine, stalling
from tracing.attach.ring import new_rings
from tracing.events.layout import SPAN
from tracing.kept import keeping
from tracing.kept.condition import parse
from tracing.kept.keeping import Keeper, kept
from tracing.kept.reason import reason
from tracing.kept.triggers import FREE

LIMIT_S, SETTLED_S, PERIOD_S = 12.0, 1.0, 0.1
BEFORE_NS, AFTER_NS = 3_000_000_000, 300_000_000
FILE = "injection.json"
FIRST_IN_LINE = 2  # real-time priority, above that of what takes the cores
BUSY = r"^the machine was busy|^run queue|^over the CPU quota"  # what the kernel's counters have to show for it


@dataclass(frozen=True)
class Injection:
    """`injection.json`: what was done to the engine and when; '' for a quiet time, in which `requests` have ended."""

    stall: str
    seed: int
    begin_ns: int
    requests: int = 0


@dataclass(frozen=True)
class Outcome:
    """One injection: the reason of the first keep after it; '' where there was none."""

    injection: Injection
    reason: str

    @property
    def is_right(self) -> bool:
        [pattern] = [stall.reason for stall in STALLS if stall.name == self.injection.stall]
        return bool(re.search(pattern, self.reason))


def inject(engine: StalledEngine, stall: Stall, seed: int, folder: Path) -> Injection:
    """Stall it at a drawn moment under one trigger, and wait for what is kept."""
    keeper = Keeper(engine.engine, [parse(stall.condition)], folder)
    with keeper.samples.running():
        watch(keeper, SETTLED_S + random.Random(f"{stall.name} {seed}").random(), lambda: False)
        watch(keeper, LIMIT_S, lambda: keeper.firing is None)
        begin_ns = time.monotonic_ns()
        engine.stall(stall)
        watch(keeper, LIMIT_S, lambda: any(keep.at_ns > begin_ns for _, keep in kept(folder)))
    return Injection(stall.name, seed, begin_ns)


def quiet(engine: StalledEngine, seed: int, folder: Path, requests: int, seconds: float) -> Injection:
    """Watch it under all conditions while nothing is done to it, until so many requests have ended."""
    keeper = Keeper(engine.engine, [parse(text) for text in dict.fromkeys(stall.condition for stall in STALLS)], folder)
    ended = EndedRequests(engine.engine.folder)
    with keeper.samples.running():
        watch(keeper, seconds, lambda: ended.look() >= requests)
        watch(keeper, LIMIT_S, lambda: keeper.firing is None)
    return Injection("", seed, 0, ended.look())


class EndedRequests:
    """How many requests the cores of an engine have let go of since this was made."""

    def __init__(self, folder: Path) -> None:
        self._rings, self._count = list(new_rings(folder, ())), 0
        for ring in self._rings:
            ring.skip()

    def look(self) -> int:
        for ring in self._rings:
            records = ring.take()
            self._count += int(((records["site"] == FREE) & (records["kind"] == SPAN)).sum())
        return self._count


def watch(keeper: Keeper, seconds: float, enough: Callable[[], bool]) -> None:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s and not enough():
        keeper.look()
        time.sleep(PERIOD_S)


def done_in(folder: Path) -> Iterator[tuple[Path, Injection]]:
    """What was done so far, by its folders."""
    for path in sorted(folder.glob(f"*/{FILE}")):
        yield path.parent, Injection(**json.loads(path.read_text()))


def outcome(folder: Path, injection: Injection) -> Outcome:
    """Judge an injection by the first that was kept after it began."""
    after = [(path, keep) for path, keep in kept(folder) if keep.at_ns > injection.begin_ns]
    return Outcome(injection, reason(*after[0]) if after else "")


def alarms(folder: Path, injection: Injection) -> list[str]:
    """The reasons of what was kept while nothing was done."""
    before = [(path, keep) for path, keep in kept(folder) if not injection.stall or keep.at_ns <= injection.begin_ns]
    return [f"{keep.condition}: {reason(path, keep)}" for path, keep in before]


def table(outcomes: Sequence[Outcome]) -> str:
    """The published table."""
    rows = ["| what was put in | trigger | kept | with the right reason |", "| --- | --- | --- | --- |"]
    for stall in STALLS:
        mine = [each for each in outcomes if each.injection.stall == stall.name]
        if mine:
            caught, right = sum(bool(each.reason) for each in mine), sum(each.is_right for each in mine)
            rows.append(f"| {stall.name} | `{stall.condition}` | {caught} of {len(mine)} | {right} of {len(mine)} |")
    return "\n".join([*rows, ""])


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=10, help="of each stall (default 10)")
    arguments.add_argument("--quiet", type=int, default=2000, help="requests watched before (default 2000)")
    arguments.add_argument("--minutes", type=float, default=60.0, help="begin no injection after so many")
    arguments.add_argument("--folder", type=Path, default=Path("build/stalls"), help="default: %(default)s")
    arguments.add_argument("--only", choices=("inject", "judge"), help="the half that needs an engine, or the other")
    arguments.add_argument("--table", type=Path, help="put the table in place of the first one there")
    return arguments


def injections(folder: Path, runs: int, requests: int, minutes: float) -> None:
    """Do in one engine what was not done yet, as far as the time goes."""
    keeping.BEFORE_NS, keeping.AFTER_NS = BEFORE_NS, AFTER_NS
    deadline_s = time.monotonic() + 60 * minutes
    done = [injection for _, injection in done_in(folder)]
    known = {(each.stall, each.seed) for each in done}
    ways = [(stall, seed) for seed in range(runs) for stall in STALLS if (stall.name, seed) not in known]
    with tempfile.TemporaryDirectory(prefix="enginescope-stalls-") as scratch, stalling(Path(scratch)) as engine:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(FIRST_IN_LINE))
        soak, path = EngineSoak(engine.engine.folder, folder), folder / f"quiet {len(done)}"
        write(path, quiet(engine, len(done), path, requests, 30 * minutes))  # of the time at most a half
        for stall, seed in ways:
            if time.monotonic() < deadline_s:
                soak.look_if_due()
                path = folder / f"{stall.name} {seed}"
                shutil.rmtree(path, ignore_errors=True)  # of one that was interrupted
                write(path, inject(engine, stall, seed, path))
                print(f"{'kept' if kept(path) else 'MISSED'}  {path.name}", flush=True)
        soak.look()


def write(folder: Path, injection: Injection) -> None:
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_text(json.dumps(asdict(injection)))


def judge(folder: Path) -> str:
    """Print what was found in each folder; the table."""
    done = list(done_in(folder))
    outcomes = [outcome(path, injection) for path, injection in done if injection.stall]
    for each in outcomes:
        verdict = "right" if each.is_right else "WRONG" if each.reason else "MISSED"
        print(f"{verdict}  {each.injection.stall} {each.injection.seed}: {each.reason}")
    found = [line for path, injection in done for line in alarms(path, injection)]
    busy = sum(bool(re.search(BUSY, line.partition(": ")[2])) for line in found)
    requests = sum(injection.requests for _, injection in done)
    print(*found, sep="\n")
    print(f"quiet: {requests:,} requests, {len(found)} kept, of these {busy} because the machine was busy")
    return table(outcomes)


def main() -> None:
    args = parser().parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.only != "judge":
        injections(args.folder, args.runs, args.quiet, args.minutes)
    if args.only != "inject":
        print(text := judge(args.folder))
        print(enginesoak.table(enginesoak.looks(args.folder)))
        if args.table:
            args.table.write_text(in_place(args.table.read_text(), text))


if __name__ == "__main__":
    main()
