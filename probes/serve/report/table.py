"""How a server's checks look on a terminal: a row per check, then the start, the KV cache, the memory, the verdict."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator

from probes.console import printable
from probes.memory.table import device_lines, part_lines, process_lines
from probes.serve.checks.checks import Check
from probes.serve.faults.diagnosis import Diagnosis
from probes.serve.session import Session
from probes.serve.visit import NOT_SEEN, Visit

WIDTH = 118
TEXT_WIDTH = 90


def report(session: Session) -> Iterator[str]:
    """Lines for the terminal."""
    yield from check_lines(session.checks)
    if session.startup.ready_s is not None:
        yield from startup_lines(session)
    if session.memory:
        yield ""
        yield from process_lines(session.memory.processes)
        yield ""
        yield from part_lines(session.memory)
        yield from device_lines(session.memory.devices)
        yield from session.verdict
    if session.diagnosis:
        yield from diagnosis_lines(session.diagnosis)
    yield ""
    yield from verdict_lines(session)


def visit_report(visit: Visit) -> Iterator[str]:
    """The same of a server that runs already, with what was not seen of it."""
    yield from check_lines(visit.checks)
    yield ""
    yield from (f"not seen: {each}" for each in NOT_SEEN)
    yield ""
    yield tally(visit.checks)


def check_lines(checks: list[Check]) -> Iterator[str]:
    """A row per check, with prompt and output under it."""
    for each in checks:
        first, *rest = textwrap.wrap(printable(each.summary), WIDTH - 41) or [""]
        yield f"{each.name:<27}{each.outcome:<8}{each.took_s:>6.2f} s  {first}"
        yield from (f"{'':<45}{line}" for line in rest)
        if each.prompt is not None and each.output is not None:
            yield f"{'':<45}{quoted(each.prompt)} → {quoted(each.output)}"


def quoted(text: str) -> str:
    """A prompt or an output in one line, as Python writes it."""
    return repr(text if len(text) <= TEXT_WIDTH else text[: TEXT_WIDTH - 1] + "…")


def startup_lines(session: Session) -> Iterator[str]:
    """How long each phase of the start took, as the log's lines came."""
    yield ""
    yield f"start     {session.startup.ready_s:.1f} s until it answered, by the lines of its log:"
    for name, took_s in session.startup.split():
        yield f"          {took_s:6.1f} s  {name}"


def diagnosis_lines(diagnosis: Diagnosis, ended: str = "server") -> Iterator[str]:
    """The last errors of what ended, what they likely mean, and what to try."""
    yield ""
    yield f"the {ended}: {diagnosis.what}"
    yield from (f"  | {printable(line)}" for line in diagnosis.lines)
    yield f"likely cause: {diagnosis.cause}"
    yield f"try: {diagnosis.remedy}"


def verdict_lines(session: Session) -> Iterator[str]:
    """The last word, and what is left behind."""
    yield tally(session.checks)
    if session.kept_pid:
        yield f"the server keeps running as process {session.kept_pid}; to stop it: kill {session.kept_pid}"
    if session.log.exists():
        yield f"its log: {session.log}"


def tally(checks: list[Check]) -> str:
    """`9 passed, 1 skipped`."""
    counts = Counter(each.outcome for each in checks)
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "no check was run"
