"""A line of a server's log: when it was written, by which process, and its own words; read from files of any size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import BinaryIO

from probes.processes.log import MARKS, plain

BLOCK_BYTES = 1 << 20
WIDTH_BYTES = 1 << 16  # a longer line is cut
LEAP_YEAR = 2000  # vLLM's time has no year; one in which every day is
YEAR_S = 366 * 86400
# A container's own time goes before vLLM's, which has no fractions and no year.
OUTER = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:?\d\d)?")
INNER = re.compile(r"\b[A-Z]+ (\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)")
# The container that a line is of, where several are shown at once: kubectl's, Compose's, stern's.
SOURCE = re.compile(r"^(?:\[(pod/[^\]]+)\]|([\w.-]+) +\| |([\w.-]+-[\w.]+ [\w.-]+) (?=[(A-Z\d]))")
PROCESS = re.compile(r"\(([\w.-]+)(?: rank=(\d+))? pid=\d+|\[(rank\d+)\]")
END = re.compile(rb"[\r\n]+")
DOCKER_TIME = re.compile(r'"time":"([^"]+)"')


@dataclass(frozen=True, slots=True)
class LogLine:
    """`time_s` is None where the line has no time, and of the year 2000 where vLLM told it.

    `process`, and `source` (the container), are empty where the line does not tell.
    """

    time_s: float | None
    process: str
    words: str
    source: str = ""


def read_lines(stream: BinaryIO) -> Iterator[LogLine]:
    """The lines of a log; progress bars end theirs with a return. Holds a block of it in memory, however long it is."""
    year_s, latest_s = 0.0, float("-inf")
    for raw in _raw_lines(stream):
        line = parse(raw.decode(errors="replace"))
        if line.time_s is not None:
            if line.time_s + year_s < latest_s - YEAR_S / 2:
                year_s += YEAR_S
            latest_s = line.time_s + year_s
            line = LogLine(latest_s, line.process, line.words, line.source)
        yield line


def parse(text: str) -> LogLine:
    """One line without what stands before its own words.

    | line                                                        | process        | words        |
    | ----------------------------------------------------------- | -------------- | ------------ |
    | `(EngineCore_DP1 pid=7) INFO 11-26 12:00:01 [core.py:9] Up` | EngineCore_DP1 | Up           |
    | `2026-11-26T12:00:01.5Z (VllmWorker rank=2 pid=9) …`        | VllmWorker 2   | …            |
    """
    line = plain(text)
    marks = MARKS.match(line)
    assert marks is not None
    head = text[:120] if text.startswith('{"log":') else ""
    time = DOCKER_TIME.search(text) if head else None
    time_s, process, source = _head(f"{time[1]} {marks[0]}" if time else marks[0])
    return LogLine(time_s, process, line[marks.end() :], source)


@lru_cache(4096)  # lines of a second and a process begin alike
def _head(head: str) -> tuple[float | None, str, str]:
    source, process = SOURCE.match(head), ""
    for name, rank, torchs in PROCESS.findall(head):
        process = torchs or f"{name} {rank}".strip()
    return _time_s(head), process, source[source.lastindex or 0] if source else ""


def _time_s(head: str) -> float | None:
    if outer := OUTER.search(head):
        day, clock, fraction, zone = outer.groups()
        whole = datetime.fromisoformat(f"{day}T{clock}{zone or 'Z'}")
        return whole.timestamp() + float(f"0.{fraction or 0}")
    if inner := INNER.search(head):
        month, day_, hour, minute, second = map(int, inner.groups())
        return datetime(LEAP_YEAR, month, day_, hour, minute, second, tzinfo=UTC).timestamp()
    return None


def _raw_lines(stream: BinaryIO) -> Iterator[bytes]:
    rest = b""
    while block := stream.read(BLOCK_BYTES):
        *whole, rest = END.split(rest + block)
        yield from (line[:WIDTH_BYTES] for line in whole if line)
        rest = rest[:WIDTH_BYTES]
    if rest:
        yield rest
