"""What hooks cost that only call through: an engine in standby, against none.

Each kind of hook is timed on a function that does nothing, paused, against that function, in turns; a figure is the
median over rounds with its 95 % interval. Warm is one hook that is called again and again; cold are calls of hooks that
are all others, after the caches of the processor have seen as much else as they hold. A step's cost is the sum over the
sites of a real trace: the first call of each in a step is cold and the others are warm, all processes together, as if
none ran beside another: an upper bound for a step's length. Of a stream each segment that ran counts as an output,
though an output has two as a rule.

example: python -m tracing.record --out /tmp/trace && python tests/bench/standby.py /tmp/trace
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
import types
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tracing import timeline
from tracing.events import layout
from tracing.hooks import _recorder
from tracing.hooks.wrappers import table
from tracing.overhead.entry import Interval
from tracing.overhead.ledger import interval
from tracing.sites.engine import ALL_SITES, CODES
from tracing.sites.site import Site

CALLS = 200  # in a row: shorter than the time after which another program may get the core
HOOKS = 20  # all others, in a row
ELSE = np.ones(3 << 20)  # 24 MiB
STEP_NS = 3_000_000  # the step that the target is a share of
TARGET = 0.003


def nothing(*_: Any) -> None:
    return None


def something_else() -> None:
    ELSE.sum()


async def outputs() -> AsyncIterator[int]:
    for number in itertools.count():
        yield number


def called_ns(functions: Sequence[Callable[..., Any]], before: Callable[[], None]) -> float:
    before()
    start = _recorder.now()
    for function in functions:
        function(None, None)
    return (_recorder.now() - start) / len(functions)


LOOP = asyncio.new_event_loop()


def awaited_ns(streams: Sequence[Any], before: Callable[[], None]) -> float:
    async def run() -> float:
        before()
        start = _recorder.now()
        for stream in streams:
            await anext(stream)
        return (_recorder.now() - start) / len(streams)

    return LOOP.run_until_complete(run())


def wrapped(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    return table.wrapper_of(ALL_SITES[CODES[name]])(original)


@dataclass(frozen=True)
class Compared:
    """What is called in turns, without hooks and with them, and how its calls are timed."""

    timed: Callable[[Sequence[Any], Callable[[], None]], float]
    bare: Sequence[Any]
    hooked: Sequence[Any]
    before: Callable[[], None]

    def cost(self) -> float:
        """Nanoseconds a call above the bare function."""
        first, hooked, last = (self.timed(each, self.before) for each in (self.bare, self.hooked, self.bare))
        return hooked - (first + last) / 2


def functions(site: str) -> dict[str, Compared]:
    """A hook's calls, warm and cold."""
    bare = [types.FunctionType(nothing.__code__, globals()) for _ in range(HOOKS)]
    hooked = [wrapped(site, each) for each in bare]
    return {
        "warm": Compared(called_ns, bare[:1] * CALLS, hooked[:1] * CALLS, nothing),
        "cold": Compared(called_ns, bare, hooked, something_else),
    }


def streams(site: str) -> dict[str, Compared]:
    """The outputs of streams, warm and cold."""
    bare, hooked = ([make() for _ in range(HOOKS)] for make in (outputs, wrapped(site, outputs)))
    return {
        "warm": Compared(awaited_ns, bare[:1] * CALLS, hooked[:1] * CALLS, nothing),
        "cold": Compared(awaited_ns, bare, hooked, something_else),
    }


KINDS = {"hook": functions("runner.update"), "output of a stream": streams("async.generate")}


def kind_name(site: Site) -> str:
    return "output of a stream" if site.kind in ("coroutine", "async generator") else "hook"


def costs(rounds: int) -> dict[str, dict[str, Interval]]:
    """Nanoseconds a call above the bare function, by kind, warm and cold."""
    taken: dict[str, dict[str, list[float]]] = {name: {caches: [] for caches in kind} for name, kind in KINDS.items()}
    for _ in range(rounds):
        for name, kind in KINDS.items():
            for caches, compared in kind.items():
                taken[name][caches].append(compared.cost())
    return {name: {caches: interval(values) for caches, values in kind.items()} for name, kind in taken.items()}


def calls_a_step(folder: Path) -> dict[str, dict[str, float]]:
    """By kind, how often a step of a trace calls hooks of it, in all processes: warm and cold."""
    recorded = timeline.read(folder)
    steps = int((recorded.spans["site"] == "scheduler.update").sum())
    calls = {name: {"warm": 0.0, "cold": 0.0} for name in KINDS}
    for site, count in recorded.spans["site"].value_counts().items():
        if site != "gc":
            kind, often = calls[kind_name(ALL_SITES[CODES[str(site)]])], int(count) / max(steps, 1)
            kind["cold"] += min(often, 1.0)
            kind["warm"] += max(often - 1.0, 0.0)
    return calls


def lines(taken: dict[str, dict[str, Interval]], calls: dict[str, dict[str, float]]) -> Iterator[str]:
    """What a call of each kind costs, and a step with so many calls of them."""
    step = np.zeros(3)
    for name, kind in taken.items():
        for caches, cost in kind.items():
            count = calls[name][caches] if calls else 0.0
            step += count * np.array([cost.median, cost.lo, cost.hi]) / 1e3
            yield f"  {name:18} {caches} {cost.median:5.0f} [{cost.lo:.0f}, {cost.hi:.0f}]  {count:5.1f} calls a step"
    if calls:
        share, low, high = step / STEP_NS * 1e3
        yield f"a step: {step[0]:.2f} µs [{step[1]:.2f}, {step[2]:.2f}]"
        yield f"of a step of 3 ms: {share:.3%} [{low:.3%}, {high:.3%}] (target {TARGET:.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="a trace, for the calls a step makes")
    parser.add_argument("--rounds", type=int, default=3000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        switch = Path(scratch, "switch")
        switch.write_bytes(b"\1")
        _recorder.start(f"{scratch}/events.bin", layout.SCHEMA, 0)
        _recorder.pause_by(str(switch))
        taken = costs(args.rounds)
        assert _recorder.counts() == (0, 0)
        _recorder.stop()
    LOOP.run_until_complete(LOOP.shutdown_asyncgens())
    print(f"nanoseconds a call that passes through, above the bare function; {args.rounds} rounds")
    print(*lines(taken, calls_a_step(args.folder) if args.folder else {}), sep="\n")


if __name__ == "__main__":
    main()
