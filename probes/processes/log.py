"""The log of an engine's processes: why it stopped, in its own words."""

from __future__ import annotations

import json
import re
from contextlib import suppress

# What an engine raises when it says no to a configuration; anything else is a failure.
REFUSALS = (
    "ValueError",
    "NotImplementedError",
    "ValidationError",
    "VLLMValidationError",
    "AssertionError",
)
ESCAPES = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")  # colours
TIME_OF_DAY = r"\d{4}-\d\d-\d\d[T ][\d:.,]+(?:Z|[+-]\d\d:?\d\d)?"
# What stands before a line's own words, any number of each.
MARKS = re.compile(
    r"^(?:"
    r"\([^()]*\bpid=\d+[^()]*\) ?"  # `(EngineCore pid=7)`, `(VllmWorker rank=0 pid=7)`, Ray's with `ip=…`
    r"|\[rank\d+\]: ?"  # torch's
    r"|(?:ERROR|WARNING|INFO|DEBUG|CRITICAL) [\d-]+ [\d:.]+ (?:\[[^\]]*\]|[\w./]+:\d+\]) ?"  # vLLM's level, time, place
    r"|\[[IWEF]\d{3,4} [\d:.]+ \S+:\d+\] ?"  # glog's
    rf"|{TIME_OF_DAY} (?:std(?:out|err) [FP] )?"  # Docker's and Kubernetes' time, the runtime's stream
    r"|[\w.-]+ +\| | *\| "  # Docker Compose's container, loguru's columns, the bar of an exception group
    r"|\[pod/[^\]]+\] ?"  # kubectl logs --prefix
    r"|[\w.-]+-[\w.]+ [\w.-]+ (?=\(\w+ ?[\w=]* pid=|(?:ERROR|WARNING|INFO|DEBUG) \d|\d{4}-\d\d-)"  # stern's pod
    r"|[A-Z][a-z]{2} [ \d]\d [\d:]{8} \S+ [\w.@/-]+(?:\[\d+\])?: "  # journald's
    r")*"
)
RAISED = re.compile(
    r"^(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*(?:Error(?:_\w+)?|Exception|Interrupt|Exit|IsEnabled|NotFound|Timeout|Failed|OfResources))"
    r"(?:: (.*))?$"
)
# What a parent says when its child died: true, and no reason.
HOLLOW = (
    "Engine core initialization failed",
    "Failed core proc",
    "WorkerProc initialization failed",
    "EngineCore encountered an issue",
    "Engine process failed to start",
    "Background loop has errored already",
    "cancelled",
)


def bare(line: str) -> str:
    """A line's own words: unpacked from Docker's JSON, without colours and without what stands before them."""
    return MARKS.sub("", plain(line))


def plain(line: str) -> str:
    """A line as its program wrote it: unpacked from Docker's JSON, without colours."""
    if line.startswith('{"log":'):
        with suppress(ValueError):  # cut off
            line = str(json.loads(line)["log"])
    return (ESCAPES.sub("", line) if "\x1b" in line else line).rstrip()


def refuses(reason: str) -> bool:
    """Whether `reason` is an engine's no to a configuration, and no failure."""
    return reason.partition(":")[0].rpartition(".")[2] in REFUSALS


def first_reason(log: str) -> str | None:
    """The first exception of a log that says something itself: `ValueError: No common block size for 16 …`, or None.

    Pydantic's message follows on the next lines, so an exception without enough words takes the line after it along.
    """
    lines = [bare(line) for line in log.splitlines()]
    for number, line in enumerate(lines):
        raised = RAISED.match(line)
        if not raised or not telling(line):
            continue
        kind, text = raised.group(1), (raised.group(2) or "").strip()
        if kind == "ValidationError":
            words = [part.strip() for part in lines[number + 1 : number + 3]]
            text = " ".join([text, *(part for part in words if not part.startswith("For further information"))])
        return f"{kind}: {text}"[:500]
    return None


def telling(line: str) -> bool:
    """Whether a line is an exception that says why itself."""
    raised = RAISED.match(line)
    if not raised or any(hollow in line for hollow in HOLLOW):
        return False
    return raised.group(1) not in ("KeyboardInterrupt", "SystemExit") and bool((raised.group(2) or "").strip())
