"""The raw lines of a comparison: a start of a side, the memory of one batch, a timed batch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from probes.jsonform import read_record

VLLM, TORCH = "vllm", "transformers"
SIDES = (TORCH, VLLM)


@dataclass(frozen=True)
class SideStart:
    """One start of a side. `idle_bytes` is the memory of its processes; `reserved_bytes` the KV cache that it holds."""

    kind: ClassVar[str] = "start"
    side: str
    start: int
    startup_s: float
    idle_bytes: int
    reserved_bytes: int | None


@dataclass(frozen=True)
class SideMemory:
    """Memory of a side's processes around one batch that is not timed, in bytes."""

    kind: ClassVar[str] = "memory"
    side: str
    start: int
    batch_size: int
    before_bytes: int
    during_bytes: int
    after_bytes: int


@dataclass(frozen=True)
class SideTrial:
    """One timed batch. Times are CLOCK_MONOTONIC nanoseconds; `latency_s` is each request's, in seconds."""

    kind: ClassVar[str] = "trial"
    side: str
    start: int
    round: int
    batch_size: int
    seed: int
    start_ns: int
    end_ns: int
    tokens: int
    latency_s: tuple[float, ...]

    @property
    def output_tok_s(self) -> float:
        """Generated tokens a second."""
        return self.tokens / (self.end_ns - self.start_ns) * 1e9


SideRecord = SideStart | SideMemory | SideTrial
CLASSES: dict[str, type[SideRecord]] = {cls.kind: cls for cls in (SideStart, SideMemory, SideTrial)}


def whole_starts(records: Iterable[SideRecord], batches: Sequence[int], rounds: int) -> set[int]:
    """The numbers of the starts in which both sides ran all rounds of all batch sizes."""
    trials = [(each.start, each.side) for each in records if isinstance(each, SideTrial)]
    starts = {start for start, _ in trials}
    return {start for start in starts if all(trials.count((start, side)) == rounds * len(batches) for side in SIDES)}


def write_line(path: Path, record: SideRecord) -> None:
    """Append one line."""
    with path.open("a") as file:
        file.write(json.dumps({"kind": record.kind, **asdict(record)}) + "\n")


def drop_torn_line(path: Path) -> None:
    """Cut off what a kill left of a last line, so that the next one does not join it."""
    if path.exists():
        data = path.read_bytes()
        os.truncate(path, data.rfind(b"\n") + 1)


def read_lines(path: Path) -> list[SideRecord]:
    """All whole lines of a file, in order."""
    whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
    return list(_records(json.loads(line) for line in whole.splitlines()))


def _records(lines: Iterable[dict[str, Any]]) -> Iterable[SideRecord]:
    for line in lines:
        yield read_record(CLASSES[line.pop("kind")], line)
