"""Works the values that the walkthrough quotes out of recorded traces, into one committed summary."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from notes.quotes import PATH, Quote, QuotedMachine, QuotedTrace, Quotes, Unit, readable, write
from probes.arguments import CommandParser
from probes.errors import EnginescopeError, run_main, usage_error

if TYPE_CHECKING:
    from tracing.breakdown.review import Review

EXAMPLES = """examples:
  python -m notes.measured traces/<default> traces/<streams> traces/<batch> traces/<preempted>

each trace is known by the command that it recorded:
  default    python -m tracing.record -- python -m tracing.demo
  streams    python -m tracing.record -- python tests/engine/traced/streams.py MODEL
  batch      python -m tracing.record -- python tests/engine/traced/batch_then_kill.py MODEL
  preempted  python -m tracing.record -- python tests/engine/traced/preempted.py MODEL
MODEL is the folder that python -m probes.checkpoint --two-layer prints.
"""
# How a trace is named in the notes, by a part of its command.
TRACES = {"default": "tracing.demo", "streams": "streams.py", "batch": "batch_then_kill", "preempted": "preempted.py"}


@dataclass(frozen=True)
class Quantity:
    """One value: where it stands in a trace's review. `row` picks the row of a table by its first column."""

    key: str
    trace: str
    table: str
    row: str
    column: str
    unit: Unit
    meaning: str


def _steps(trace: str, kind: str, *columns: str) -> tuple[Quantity, ...]:
    name = kind.replace(" ", "-")
    return tuple(
        Quantity(
            f"{trace}-{name}-{column}".removesuffix("-step"),
            trace,
            "steps",
            kind,
            "median_ns" if column == "step" else f"{column}_median_ns",
            "ns",
            f"median over the {kind} steps" + ("" if column == "step" else f": {column}"),
        )
        for column in columns
    )


def _stages(trace: str, *stages: str) -> tuple[Quantity, ...]:
    return tuple(
        Quantity(
            f"{trace}-{re.sub('[^a-z]+', '-', stage)}",
            trace,
            "budget",
            stage,
            "median_ns",
            "ns",
            f"median over the requests: {stage}, all of a request's together",
        )
        for stage in stages
    )


def _hops(trace: str, name: str, hop: str) -> tuple[Quantity, ...]:
    return (
        Quantity(f"{trace}-{name}", trace, "hops", hop, "median_ns", "ns", f"median hop, {hop}"),
        Quantity(f"{trace}-{name}-bytes", trace, "hops", hop, "bytes_median", "bytes", f"median message, {hop}"),
    )


QUANTITIES: tuple[Quantity, ...] = (
    *_steps("default", "decode", "step", "model", "prepare"),
    *_steps("default", "mixed", "step"),
    *_steps("batch", "decode", "step", "model", "schedule", "prepare", "sample", "reply", "update"),
    *_steps("streams", "decode", "step", "schedule", "sample"),
    *_steps("streams", "first decode", "step"),
    *_stages("default", "wait: input queue"),
    *_stages("streams", "tokenize", "wait: thread pool", "wait: event loop", "detokenize", "process outputs"),
    *_stages("batch", "wait: turn in generate", "allocate", "prefix lookup"),
    *_stages("preempted", "wait: preempted", "preempt"),
    *_hops("batch", "in", "front end → core"),
    *_hops("batch", "out", "core → front end"),
    *_hops("streams", "out", "core → front end"),
    Quantity("batch-idle", "batch", "steps", "decode", "worker_idle_share", "share", "worker idle in decode steps"),
    Quantity("default-idle", "default", "steps", "decode", "worker_idle_share", "share", "worker idle in decode steps"),
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m notes.measured",
        description="Writes notes/measured.json, the values that the walkthrough quotes, from recorded traces.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("traces", type=Path, nargs="+", metavar="DIR", help="the trace folders, in any order")
    parser.add_argument("--out", type=Path, default=PATH, metavar="FILE", help="(default: notes/measured.json)")
    return parser


def main() -> int:
    """The command."""
    args = parser().parse_args()
    write(summary(args.traces), args.out)
    print(f"Wrote {args.out}")
    return 0


def summary(folders: Sequence[Path]) -> Quotes:
    """Every quoted value, out of one trace folder of each kind; a usage error where one is missing or unknown."""
    from tracing.breakdown.findings import findings
    from tracing.events.tracefile import read_trace

    reviews: dict[str, Review] = {}
    sources: dict[str, QuotedTrace] = {}
    for folder in folders:
        trace = read_trace(folder)
        name = next((name for name, part in TRACES.items() if trace and part in trace.command), None)
        if trace is None or name is None:
            raise usage_error(f"{folder} records none of the commands that the notes quote: {', '.join(TRACES)}")
        reviews[name] = findings(folder).review
        known = {field.name: getattr(trace.machine, field.name) for field in fields(QuotedMachine)}
        sources[name] = QuotedTrace(without_folders(trace.command), QuotedMachine(**known))
    if missing := TRACES.keys() - reviews.keys():
        raise usage_error(f"no trace of {', '.join(sorted(missing))}: see python -m notes.measured --help")
    return Quotes(sources, {each.key: quote(each, reviews[each.trace]) for each in QUANTITIES})


def without_folders(command: str) -> str:
    """A command without its interpreter and without paths of this machine."""
    return " ".join(word for word in command.split()[1:] if "/." not in word and not word.startswith("~"))


def quote(quantity: Quantity, review: Review) -> Quote:
    """The value of a quantity in a review."""
    first = {"steps": "kind", "budget": "stage", "hops": "hop"}[quantity.table]
    row = next((row for row in getattr(review, quantity.table) if getattr(row, first) == quantity.row), None)
    value = getattr(row, quantity.column, None)
    count = getattr(row, "count", None)
    if value is None:
        raise EnginescopeError(
            f"the {quantity.trace} trace has no {quantity.row} in its {quantity.table}: record it again"
        )
    meaning = f"{quantity.meaning}; {quantity.trace} trace" + (f", n={count}" if count else "")
    return Quote(readable(value, quantity.unit), value, quantity.unit, meaning)


if __name__ == "__main__":
    run_main(main)
