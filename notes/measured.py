"""The measured values that the walkthrough quotes: worked out of recorded traces into one committed summary.

A chapter names a value as `{{key}}`, so that text and summary cannot disagree.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from probes.errors import EnginescopeError, run_main, usage_error

if TYPE_CHECKING:
    from notes.walkthrough.chapters import Chapter

SCHEMA = 1
PATH = Path(__file__).resolve().parent / "measured.json"
NAMED = re.compile(r"\{\{([a-z0-9-]+)\}\}")
MACHINE = ("cpu_model", "cores_usable", "memory_bytes", "python", "torch", "vllm", "vllm_distribution")
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

Unit = Literal["ns", "share", "bytes"]


@dataclass(frozen=True)
class Quantity:
    """One value: where it stands in a trace's `review.json`. `row` picks the row of a table by its first column."""

    key: str
    trace: str
    table: str
    row: str
    column: str
    unit: Unit
    says: str


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
    made = argparse.ArgumentParser(
        prog="python -m notes.measured",
        description="Writes notes/measured.json, the values that the walkthrough quotes, from recorded traces.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("traces", type=Path, nargs="+", metavar="DIR", help="the trace folders, in any order")
    made.add_argument("--out", type=Path, default=PATH, metavar="FILE", help="(default: notes/measured.json)")
    return made


def main() -> int:
    """The command."""
    args = parser().parse_args()
    try:
        args.out.write_text(json.dumps(summary(args.traces), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise EnginescopeError(f"cannot write {args.out}: {error.strerror}") from None
    print(f"Wrote {args.out}")
    return 0


def summary(folders: Sequence[Path]) -> dict[str, Any]:
    """What `measured.json` holds: each trace with its machine, and every value with its text and what it is."""
    from tracing.breakdown.findings import findings, trace_file

    reviews: dict[str, dict[str, Any]] = {}
    traces: dict[str, dict[str, Any]] = {}
    for folder in folders:
        told = trace_file(folder)
        name = next((name for name, part in TRACES.items() if part in told.get("command", "")), None)
        if name is None:
            raise usage_error(f"{folder} records none of the commands that the notes quote: {', '.join(TRACES)}")
        reviews[name] = findings(folder).review
        machine = told.get("machine", {})
        traces[name] = {"command": told["command"].split()[1:], "machine": {key: machine.get(key) for key in MACHINE}}
    if absent := TRACES.keys() - reviews.keys():
        raise usage_error(f"no trace of {', '.join(sorted(absent))}: python -m notes.measured --help says how to")
    for trace in traces.values():
        trace["command"] = " ".join(word for word in trace["command"] if "/." not in word and not word.startswith("~"))
    values = {each.key: _value(each, reviews[each.trace]) for each in QUANTITIES}
    return {"schema": SCHEMA, "made_by": "python -m notes.measured", "traces": traces, "values": values}


def _value(quantity: Quantity, review: dict[str, Any]) -> dict[str, Any]:
    first = {"steps": "kind", "budget": "stage", "hops": "hop"}[quantity.table]
    row = next((row for row in review[quantity.table] if row[first] == quantity.row), None)
    if row is None or row[quantity.column] is None:
        raise EnginescopeError(f"the {quantity.trace} trace has no {quantity.row} in its {quantity.table}: record anew")
    found = row[quantity.column]
    said = f"{quantity.says}; {quantity.trace} trace" + (f", n={row['count']}" if "count" in row else "")
    return {"text": shown(found, quantity.unit), quantity.unit: found, "says": said}


def shown(value: float, unit: Unit) -> str:
    """A value for people, to three digits at most: `5.37 ms`, `10.4 %`, `210 bytes`."""
    if unit == "share":
        return f"{value * 100:.3g} %"
    if unit == "bytes":
        return f"{value:.0f} bytes"
    for size, name in ((1e6, "ms"), (1e3, "µs")):
        if value >= size:
            return f"{value / size:.0f} {name}" if value >= 100 * size else f"{value / size:.3g} {name}"
    return f"{value:.0f} ns"


# --- in the notes ---


def read(path: Path = PATH) -> dict[str, dict[str, Any]]:
    """The values of the committed summary, by key."""
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise usage_error(f"{path} cannot be read: {error}") from None
    if told.get("schema") != SCHEMA:
        raise usage_error(f"{path} is of schema {told.get('schema')}, not {SCHEMA}: make it anew")
    values: dict[str, dict[str, Any]] = told["values"]
    return values


def fill(text: str, values: dict[str, dict[str, Any]]) -> str:
    """The text with every `{{key}}` as its value."""

    def found(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise usage_error(f"the notes quote {{{{{match[1]}}}}}, which notes/measured.json does not have")
        return str(values[match[1]]["text"])

    return NAMED.sub(found, text)


def quoted(chapter: Chapter) -> list[str]:
    """The keys that a chapter quotes."""
    return [key for part in chapter.parts for key in NAMED.findall(part if isinstance(part, str) else part.said)]


if __name__ == "__main__":
    run_main(main)
