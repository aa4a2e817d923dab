"""What hooks cost that only call through: an engine in standby, against none.

Each kind of hook is timed on a function that does nothing, paused, against that function, in turns; a figure is the
median over rounds with its 5th and 95th percentile. A step's cost is the sum over the sites of a real trace: its calls
a step times the cost of its kind, all processes together, as if none ran beside another: an upper bound for a
step's length. Of a stream each segment that ran counts as an output, though an output has two as a rule.

example: python -m tracing.record --out /tmp/trace && python tests/bench/standby.py /tmp/trace
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tracing import timeline
from tracing.events import layout
from tracing.hooks import _recorder
from tracing.hooks.wrappers import steps, table
from tracing.sites.engine import ALL_SITES, CODES
from tracing.sites.site import Site

CALLS = 200  # in a row: shorter than the time after which another program may get the core
STEP_NS = 3_000_000  # the step that the target is a share of
TARGET = 0.003


def nothing(*_: Any) -> None:
    return None


async def outputs() -> AsyncIterator[int]:
    for number in itertools.count():
        yield number


def called_ns(function: Callable[..., Any]) -> float:
    start = _recorder.now()
    for _ in range(CALLS):
        function(None, None)
    return (_recorder.now() - start) / CALLS


LOOP = asyncio.new_event_loop()


def awaited_ns(stream: Callable[..., Any]) -> float:
    async def run() -> float:
        outputs = stream()
        start = _recorder.now()
        for _ in range(CALLS):
            await anext(outputs)
        took = _recorder.now() - start
        await outputs.aclose()
        return took / CALLS

    return LOOP.run_until_complete(run())


def wrapped(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    return table.wrapper_of(ALL_SITES[CODES[name]])(original)


KINDS: dict[str, tuple[Callable[[Callable[..., Any]], float], Callable[..., Any], Callable[..., Any]]] = {
    "hook": (called_ns, nothing, wrapped("runner.update", nothing)),
    "hook around a hook": (called_ns, nothing, wrapped("executor.wait", nothing)),
    "output of a stream": (awaited_ns, outputs, wrapped("async.generate", outputs)),
}


def kind_name(site: Site) -> str:
    """The kind of a site's hook; where a step's number is read there are two."""
    if site.kind in ("coroutine", "async generator"):
        return "output of a stream"
    return "hook around a hook" if site.name in steps.NUMBERING else "hook"


def costs(rounds: int) -> dict[str, list[float]]:
    """Nanoseconds a call above the bare function, by kind, a value a round."""
    found: dict[str, list[float]] = {name: [] for name in KINDS}
    for _ in range(rounds):
        for name, (timed, bare, hooked) in KINDS.items():
            before, with_hook, after = timed(bare), timed(hooked), timed(bare)
            found[name].append(with_hook - (before + after) / 2)
    return found


def calls_a_step(folder: Path) -> dict[str, float]:
    """By kind, how often a step of a trace calls hooks of it, in all processes."""
    recorded = timeline.read(folder)
    steps = int((recorded.spans["site"] == "scheduler.update").sum())
    calls = dict.fromkeys(KINDS, 0.0)
    for site, count in recorded.spans["site"].value_counts().items():
        if site not in ("gc", "scope"):
            calls[kind_name(ALL_SITES[CODES[str(site)]])] += int(count) / max(steps, 1)
    return calls


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
        found = costs(args.rounds)
        assert _recorder.counts() == (0, 0)
        _recorder.stop()
    calls = calls_a_step(args.folder) if args.folder else {}
    print(f"nanoseconds a call that passes through, above the bare function; {args.rounds} rounds of {CALLS} calls")
    low = high = middle = 0.0
    for name, values in found.items():
        five, *_, ninety_five = statistics.quantiles(values, n=20)
        count, median = calls.get(name, 0.0), statistics.median(values)
        low, middle, high = low + count * five, middle + count * median, high + count * ninety_five
        print(f"  {name:18} {median:7.0f}   [{five:.0f}, {ninety_five:.0f}]   {count:6.1f} calls a step")
    if calls:
        share, most = middle / STEP_NS, high / STEP_NS
        print(f"a step: {middle / 1000:.2f} µs [{low / 1000:.2f}, {high / 1000:.2f}]")
        print(f"of a step of 3 ms: {share:.3%}, at most {most:.3%} (target {TARGET:.1%})")


if __name__ == "__main__":
    main()
