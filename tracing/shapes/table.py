"""The table of shapes: a row a shape, from its recording or from what vLLM said instead of starting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from probes.console import percent
from probes.errors import EnginescopeError
from probes.machine import Machine
from probes.markdown import table
from probes.processes.log import first_reason
from tracing.breakdown.findings import findings
from tracing.events.tracefile import TraceRecord
from tracing.shapes.nursery import FORKED
from tracing.shapes.recording import HUNG, is_recorded, log_of, trace_of
from tracing.shapes.shape import SHAPES, Shape
from tracing.shapes.verdict import ShapeVerdict, verdict

HEADS = ("shape", "processes", "requests whole", "unexplained", "of a step", "columns add up", "recorder", "holds")
INTRODUCTION = """# Engines by shape

What holds in each shape of the engine, from recordings of real ones: the two-layer model, 13 requests of 32 tokens (18
in one process, 24 and 80 over HTTP; of a pooling model 13 vectors, of 18 searches with two beams a request for each
token). Each engine is started as its shape says: its processes are spawned, those of `fork` are forked. Shared machines
vary: other work on the same cores lengthens what is unexplained.

- *processes*: front ends + cores + workers; where they share a process it counts for each. A coordinator, and the
  parent of several API servers, through which no request goes, are not counted.
- *unexplained*: the median request's time that no span and no named wait covers, an output token; and as a share.
- *of a step*: the same of the median step, as a share of it.
- *columns add up*: the columns of every step and what is unexplained are its length, and every worker ran the tokens
  that its core had scheduled.
- *recorder*: what it took of the busiest thread's time while there was traffic: measured in the engine, around one call
  in 32 of each function. [costs.md](costs.md) has what that does to an engine's speed.
- *holds*: all requests are whole; less than 60 µs of a token, 1% of a request (where it has 32 tokens, or none) and 3%
  of a step are unexplained; columns add up, no message arrives before it is sent, the processes are the shape's, and
  what the shape is there to show was seen; else what was not.
"""


def rows(folder: Path, names: list[str]) -> list[tuple[str, ...]]:
    """A row a shape, as in `HEADS`, from the recordings that `folder` holds."""
    return [row(folder / name, name) for name in names]


def row(folder: Path, name: str) -> tuple[str, ...]:
    """One shape's row; one that cannot be read says why, and the others are none the worse for it."""
    try:
        if is_recorded(folder):
            return (name, *cells(verdict(findings(folder), SHAPES[name])))
        words = f"did not run: {refusal(folder)}"
    except EnginescopeError as error:
        words = f"cannot be read: {error}"
    return (name, words, *[""] * (len(HEADS) - 2))


def refusal(folder: Path) -> str:
    """Why a shape's program failed, in vLLM's words or in ours."""
    if not log_of(folder).exists():
        return "it was not recorded"
    text = log_of(folder).read_text(errors="replace")
    last = text.rstrip().rpartition("\n")[2]
    if last.startswith(HUNG):  # what it said before is no reason
        return last
    own = [line.removeprefix("error: ") for line in text.splitlines() if line.startswith("error: ")]
    return first_reason(text) or next(iter(own), "no reason in its log")


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
        "yes" if judged.holds else ": ".join(["no", *filter(None, ["; ".join(judged.unshown)])]),
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
    """The page of the table, from the recordings of a folder."""
    traces = [trace_of(folder / cells[0]) for cells in listed]
    machine = next((trace.machine for trace in traces if trace), None)
    return page(listed, forked_of(traces), about(machine))


def page(listed: list[tuple[str, ...]], forked: int, made_with: str) -> str:
    """The page of the table: nothing is added to it by hand."""
    words = (
        f"{forked} of these engines were forked off one process that has imported vLLM (`--forked`): none of them was"
    )
    started = [f"{words} spawned.", ""] if forked else []
    meanings = [about_shape(SHAPES[cells[0]]) for cells in listed]
    provenance = f"Made by `python -m tracing.shapes --write notes/tables/shapes.md` with {made_with}.\n"
    return "\n".join([INTRODUCTION, *table(HEADS, listed), "", *started, *meanings, "", provenance])


def about_shape(shape: Shape) -> str:
    """What a shape is, and the functions of which its recording must have spans."""
    sites = ", ".join(f"`{site}`" for site in shape.shows)
    return f"- `{shape.name}`: {shape.meaning}" + (f"; must show {sites}." if sites else ".")


def forked_of(traces: Sequence[TraceRecord | None]) -> int:
    """How many engines were forked, whatever their shapes say."""
    return sum(trace is not None and trace.command.startswith(FORKED) for trace in traces)


def about(machine: Machine | None) -> str:
    """vLLM's version and the machine, in a few words."""
    if machine is None:
        return "vLLM of an unknown version on an unknown machine"
    return f"vLLM {machine.vllm or 'of an unknown version'} on {machine.cpu_model}, {machine.cores_usable} cores"
