"""Stalls put into a real engine by name: how many a trigger kept, and how many of those with the right reason.

Each run is a line of the file of results; what stands there already is not run again.

example: python tests/bench/stalls.py --runs 5 --results build/stalls.jsonl --table notes/tables/stalls.md
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from probes.checkpoint import two_layer_model
from probes.privacy.secretvalues import is_secret
from tests.engine.recording import FORKED, ROOT
from tests.engine.traced.stalling import COLLECT, FULL_CACHE, LONG_PROMPT, ORDER, SLEEP, SLOW_CLIENT
from tracing.attach.engine import StandingEngine, standing_engine
from tracing.events import processfile
from tracing.kept import keeping
from tracing.kept.condition import parse
from tracing.kept.keeping import Keeper, kept
from tracing.kept.reason import reason

LIMIT_S, SETTLED_S, AFTER_NS = 20.0, 1.0, 300_000_000
STALL_NS = 600_000_000
SPINNERS, SPIN = 6, "import os, time\nos.nice(-15)\nend = time.time() + 1.2\nwhile time.time() < end: pass"


@dataclass(frozen=True)
class Stall:
    """What is done, which condition it meets, and what its reason has to say (a pattern)."""

    name: str
    condition: str
    reason: str
    order: int = 0  # 0: done from outside


STALLS = (
    Stall("a sleep in the scheduler", "step > 400ms", r"^schedule took", SLEEP),
    Stall("a collection of a big heap", "step > 400ms", r"^garbage collection", COLLECT),
    Stall("a worker stopped by SIGSTOP", "step > 400ms", r"^the worker .* was stopped by a signal"),
    Stall("a full KV cache", "preempted", r"blocks of the KV cache were in use", FULL_CACHE),
    Stall("a slow client", "itl > 400ms", r"^wait: caller", SLOW_CLIENT),
    Stall("a long prompt beside short ones", "step > 100ms", r"^a long prompt", LONG_PROMPT),
    Stall("a neighbour that takes the cores", "itl > 400ms", r"^the machine was busy|^run queue"),
)


@dataclass(frozen=True)
class Outcome:
    """One run: whether it was kept, and the reason that was given."""

    stall: str
    seed: int
    is_kept: bool
    is_right: bool
    reason: str


class StallingEngine:
    """The engine, and the file of its orders."""

    def __init__(self, orders: Path, engine: StandingEngine) -> None:
        self.orders, self.engine = orders, engine

    def worker(self) -> int:
        processes = [processfile.read(path) for path in self.engine.folder.glob("process-*.json")]
        return next(int(each["pid"]) for each in processes if each and "worker" in each["serves"])

    def stall(self, stall: Stall) -> None:
        """Let it happen."""
        if stall.order:
            with self.orders.open("r+b") as file:
                file.write(ORDER.pack(stall.order, STALL_NS))
        elif "SIGSTOP" in stall.name:
            os.kill(self.worker(), signal.SIGSTOP)
            time.sleep(STALL_NS / 1e9)
            os.kill(self.worker(), signal.SIGCONT)
        else:
            spinners = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(SPINNERS)]
            for spinner in spinners:
                spinner.wait()


@contextlib.contextmanager
def stalling(folder: Path) -> Iterator[StallingEngine]:
    """An engine that stalls when it is told to, with a ring."""
    orders = folder / "orders"
    orders.write_bytes(ORDER.pack(0, 0))
    script = ROOT / "tests" / "engine" / "traced" / "stalling.py"
    public = {name: value for name, value in os.environ.items() if not is_secret(name, value)}
    child = subprocess.Popen(
        [sys.executable, str(script), str(two_layer_model()), str(orders)],
        cwd=ROOT,
        env=public | FORKED | {"ENGINESCOPE_RING": "60s"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    try:
        assert "ready\n" in iter(child.stdout.readline, "")
        engine = standing_engine(child.pid)
        assert engine is not None
        yield StallingEngine(orders, engine)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def run(engine: StallingEngine, stall: Stall, seed: int, folder: Path) -> Outcome:
    """Stall it at a drawn moment under one trigger, and have what was kept explained."""
    keeper = Keeper(engine.engine, [parse(stall.condition)], folder)
    with keeper.samples.running():
        watch(keeper, SETTLED_S + random.Random(f"{stall.name} {seed}").random(), lambda: False)
        engine.stall(stall)
        watch(keeper, LIMIT_S, lambda: bool(kept(folder)))
    found = kept(folder)
    why = reason(*found[0]) if found else ""
    return Outcome(stall.name, seed, bool(found), bool(re.search(stall.reason, why)), why)


def watch(keeper: Keeper, seconds: float, enough: Callable[[], bool]) -> None:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s and not enough():
        keeper.look()
        time.sleep(0.1)


def outcomes_in(path: Path) -> list[Outcome]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [Outcome(**json.loads(line)) for line in lines]


def table(outcomes: Sequence[Outcome]) -> str:
    """The published table."""
    rows = ["| what was put in | trigger | kept | with the right reason |", "| --- | --- | --- | --- |"]
    for stall in STALLS:
        mine = [each for each in outcomes if each.stall == stall.name]
        if mine:
            caught, right = sum(each.is_kept for each in mine), sum(each.is_right for each in mine)
            rows.append(f"| {stall.name} | `{stall.condition}` | {caught} of {len(mine)} | {right} of {len(mine)} |")
    return "\n".join([*rows, ""])


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=5, help="of each stall (default 5)")
    arguments.add_argument("--minutes", type=float, default=60.0, help="begin no run after so many")
    arguments.add_argument("--results", type=Path, default=Path("build/stalls.jsonl"), help="default: %(default)s")
    arguments.add_argument("--table", type=Path, help="write the table there")
    return arguments


def main() -> None:
    args = parser().parse_args()
    deadline_s = time.monotonic() + 60 * args.minutes
    keeping.AFTER_NS = AFTER_NS
    args.results.parent.mkdir(parents=True, exist_ok=True)
    known = {(each.stall, each.seed) for each in outcomes_in(args.results)}
    runs = [(stall, seed) for seed in range(args.runs) for stall in STALLS if (stall.name, seed) not in known]
    with (
        tempfile.TemporaryDirectory(prefix="enginescope-stalls-") as folder,
        stalling(Path(folder)) as engine,
        args.results.open("a", buffering=1) as file,
    ):
        for number, (stall, seed) in enumerate(runs):
            if time.monotonic() < deadline_s:
                outcome = run(engine, stall, seed, Path(folder, str(number)))
                verdict = "right" if outcome.is_right else "WRONG" if outcome.is_kept else "MISSED"
                print(f"{verdict}  {stall.name} {seed}: {outcome.reason}", flush=True)
                file.write(json.dumps(asdict(outcome)) + "\n")
    text = table(outcomes_in(args.results))
    print(text)
    if args.table:
        args.table.write_text(text)


if __name__ == "__main__":
    main()
