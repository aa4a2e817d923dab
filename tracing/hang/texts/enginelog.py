"""The lines of vLLM's log, and of what it runs on, that speak of a wait: one table of what they say."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Notice:
    """A line that speaks of a wait: its `kind` is one of those below, `text` the piece of it that says so."""

    kind: str
    pid: int
    title: str
    text: str


@dataclass(frozen=True)
class LoggedProgress:
    """What an engine says of itself every ten seconds: the requests of its last line, the tokens/s of its last two."""

    running: int
    waiting: int
    tok_s: tuple[float, ...]


QUEUE, RPC, START, COLLECTIVE, REMOTE_KV = "queue", "rpc", "start", "collective", "remote KV"
DEAD, DEAD_WORKER = "dead", "dead worker"
WATCHDOG = "Watchdog caught collective operation timeout"
# A piece of a line, and what it tells. The pieces of vLLM are looked for in its source by a test.
LINES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"No available (?:shared memory broadcast )?block found in \d+ seconds?"), QUEUE),
    (re.compile(r"RPC call to (\w+) timed out"), RPC),
    (re.compile(r"Waiting for (?:\d+ local, \d+ remote|\d+) core engine proc\(s\) to start"), START),
    (re.compile(rf"\[Rank \d+\].*{WATCHDOG}: \w+\(SeqNum=\d+, OpType=\w+(?:.* ran for \d+ milliseconds)?"), COLLECTIVE),
    (re.compile(r"Timeout waiting for P side ready"), REMOTE_KV),
    (re.compile(r"Worker proc \S+ died unexpectedly(?: \(exit code: -?\d+\))?"), DEAD_WORKER),
    (re.compile(r"EngineCore encountered an issue|Engine core proc \S+ died unexpectedly"), DEAD),
)
STATISTICS = re.compile(
    r"Avg prompt throughput: ([\d.]+) tokens/s, Avg generation throughput: ([\d.]+) tokens/s, "
    r"Running: (\d+) reqs, (?:Swapped: \d+ reqs, )?(?:Waiting|Pending): (\d+) reqs"
)
LAST_LINES = 2  # of the statistics: enough to tell that nothing moved


def read(lines: Iterable[tuple[int, str, str]]) -> tuple[tuple[Notice, ...], LoggedProgress | None]:
    """Notices, each text of a process once, and the progress; `lines` are (pid, title, text)."""
    notices: dict[tuple[str, int, str], Notice] = {}
    statistics: list[tuple[float, int, int]] = []
    for pid, title, text in lines:
        if match := STATISTICS.search(text):
            statistics.append((float(match[1]) + float(match[2]), int(match[3]), int(match[4])))
        for pattern, kind in LINES:
            if match := pattern.search(text):
                notices.setdefault((kind, pid, match[0]), Notice(kind, pid, title, match[0]))
    last = statistics[-LAST_LINES:]
    progress = LoggedProgress(*last[-1][1:], tuple(tok_s for tok_s, _, _ in last)) if last else None
    return tuple(notices.values()), progress
