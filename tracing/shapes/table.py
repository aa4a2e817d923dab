"""The table of shapes: a row a shape, from its recording or from what vLLM said instead of starting."""

from __future__ import annotations

from pathlib import Path

from probes.console import percent
from probes.machine import Machine
from probes.markdown import table
from probes.processes.log import first_reason
from tracing.breakdown.findings import findings
from tracing.events.tracefile import read_trace
from tracing.shapes.shape import SHAPES
from tracing.shapes.verdict import ShapeVerdict, verdict

HEADS = ("shape", "processes", "requests whole", "unexplained", "of a step", "columns add up", "recorder", "holds")
INTRODUCTION = """# Engines by shape

What holds in each shape of the engine, from recordings of real ones: the two-layer model, 13 requests of 32 tokens (18
in one process, 24 and 80 over HTTP; of a pooling model 13 vectors, of 18 searches with two beams a request for each
token). Most engines are forked off one process that has imported vLLM. Shared machines vary: other work on the same
cores lengthens what is unexplained.

- *processes*: front ends + cores + workers; where they share a process it counts for each. A coordinator, and the
  parent of several API servers, through which no request goes, are not counted.
- *unexplained*: the median request's time that no span and no named wait covers, an output token; and as a share.
- *of a step*: the same of the median step, as a share of it.
- *columns add up*: the columns of every step and what is unexplained are its length, and every worker ran the tokens
  that its core had scheduled.
- *recorder*: its cost as the review estimates it, of the busiest thread's time.
"""


def rows(folder: Path, names: list[str]) -> list[tuple[str, ...]]:
    """A row for each shape that `folder` holds a recording of, as in `HEADS`."""
    return [row(folder / name, name) for name in names if (folder / name).exists()]


def row(folder: Path, name: str) -> tuple[str, ...]:
    """One shape's row."""
    trace = read_trace(folder)
    if trace is None or trace.exit_code != 0:
        return (name, refusal(folder), *[""] * (len(HEADS) - 2))
    return (name, *cells(verdict(findings(folder), SHAPES[name])))


def refusal(folder: Path) -> str:
    """Why a shape's program failed, in vLLM's words."""
    log = folder.parent / f"{folder.name}-log.txt"
    reason = first_reason(log.read_text(errors="replace")) if log.exists() else None
    return f"did not run: {reason or 'no reason in its log'}"


def cells(judged: ShapeVerdict) -> tuple[str, ...]:
    """A verdict in words."""
    token_ns = judged.unexplained_ns_per_token
    exact = not (judged.columns_off_ns or judged.token_mismatches)
    return (
        in_words(judged),
        f"{judged.whole} of {judged.requests}",
        f"{'no token' if token_ns is None else f'{token_ns / 1e3:.1f} µs'} ({percent(judged.unexplained_share)})",
        percent(judged.step_unexplained_share),
        f"{judged.steps} of {judged.steps} steps" if exact else faults(judged),
        "not known" if judged.recorder_share is None else percent(judged.recorder_share),
        "yes" if judged.holds else "no",
    )


def in_words(judged: ShapeVerdict) -> str:
    """How many processes there are of each role, and how many there should be where that is another number."""
    processes, expected = (
        " + ".join(map(str, counts.values())) for counts in (judged.processes, judged.expected_processes)
    )
    return processes if processes == expected else f"{processes} instead of {expected}"


def faults(judged: ShapeVerdict) -> str:
    """What does not add up."""
    return f"off by {judged.columns_off_ns:,} ns at most; other tokens in {judged.token_mismatches} runs"


def markdown(folder: Path, listed: list[tuple[str, ...]]) -> str:
    """The page of the table."""
    traces = [read_trace(folder / cells[0]) for cells in listed]
    machine = next((trace.machine for trace in traces if trace), None)
    lines = table(HEADS, listed)
    meanings = [f"- `{cells[0]}`: {SHAPES[cells[0]].meaning}." for cells in listed]
    provenance = f"Made by `python -m tracing.shapes --write notes/tables/shapes.md` with {about(machine)}.\n"
    return "\n".join([INTRODUCTION, *lines, "", *meanings, "", provenance])


def about(machine: Machine | None) -> str:
    """vLLM's version and the machine, in a few words."""
    if machine is None:
        return "vLLM of an unknown version on an unknown machine"
    return f"vLLM {machine.vllm or 'of an unknown version'} on {machine.cpu_model}, {machine.cores_usable} cores"
