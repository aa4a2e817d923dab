"""The log of an engine's processes: why it stopped, in its own words."""

from __future__ import annotations

import re

# What an engine raises when it says no to a configuration; anything else is a failure.
REFUSALS = (
    "ValueError",
    "NotImplementedError",
    "ValidationError",
    "VLLMValidationError",
    "AssertionError",
)
# What stands before a line's own words, any number of each: `(EngineCore pid=7) ERROR 11-21 03:46:24 [core.py:99] `,
# Ray's `(Worker pid=7, ip=10.0.0.1)`, torch's `[rank0]:`, a container's name or time of day, colours.
MARKS = re.compile(
    r"^(?:\x1b\[[\d;]*m ?|\([^()]*\bpid=\d+[^()]*\) ?|\[rank\d+\]: ?|[\w.-]+ +\| "
    r"|\d{4}-\d\d-\d\d[T ][\d:.,]+(?:Z|[+-]\d\d:?\d\d)? |(?:ERROR|WARNING|INFO|DEBUG) [\d-]+ [\d:.]+ \[[^\]]*\] ?)*"
)
RAISED = re.compile(r"^(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*(?:Error|Exception|Interrupt|Exit))(?:: (.*))?$")
# What a parent says when its child died: true, and no reason.
HOLLOW = ("Engine core initialization failed", "Failed core proc", "WorkerProc initialization failed", "cancelled")


def refuses(reason: str) -> bool:
    """Whether `reason` is an engine's no to a configuration, and no failure."""
    return reason.partition(":")[0].rpartition(".")[2] in REFUSALS


def first_reason(log: str) -> str | None:
    """The first exception of a log that says something itself: `ValueError: No common block size for 16 …`, or None.

    Pydantic's message follows on the next lines, so an exception without enough words takes the line after it along.
    """
    lines = [MARKS.sub("", line).rstrip() for line in log.splitlines()]
    for number, line in enumerate(lines):
        raised = RAISED.match(line)
        if not raised or any(hollow in line for hollow in HOLLOW):
            continue
        kind, text = raised.group(1), (raised.group(2) or "").strip()
        if kind in ("KeyboardInterrupt", "SystemExit") or not text:
            continue
        if kind == "ValidationError":
            words = [part.strip() for part in lines[number + 1 : number + 3]]
            text = " ".join([text, *(part for part in words if not part.startswith("For further information"))])
        return f"{kind}: {text}"[:500]
    return None
