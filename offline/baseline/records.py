"""The raw lines of a comparison: a start of a side, the memory of one batch, a timed batch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

from probes.columns import column
from probes.jsonform import read_record

VLLM, TORCH = "vllm", "transformers"
SIDES = (TORCH, VLLM)
SIDE, START, BATCH_SIZE = "vllm or transformers", "number of the start in the run", "requests of the batch"


@dataclass(frozen=True)
class SideStart:
    """One start of a side."""

    kind: ClassVar[str] = "start"
    side: str = field(metadata=column(SIDE))
    start: int = field(metadata=column(START))
    startup_s: float = field(metadata=column("the whole start", "s"))
    idle_bytes: int = field(metadata=column("memory of its processes when it was ready", "bytes"))
    reserved_bytes: int | None = field(
        metadata=column("the KV cache that it holds from then on; null: it takes memory as a batch needs it", "bytes")
    )


@dataclass(frozen=True)
class SideMemory:
    """Memory of a side's processes around one batch that is not timed."""

    kind: ClassVar[str] = "memory"
    side: str = field(metadata=column(SIDE))
    start: int = field(metadata=column(START))
    batch_size: int = field(metadata=column(BATCH_SIZE, "requests"))
    before_bytes: int = field(metadata=column("memory of its processes before the batch", "bytes"))
    during_bytes: int = field(metadata=column("the most during it", "bytes"))
    after_bytes: int = field(metadata=column("after it", "bytes"))


@dataclass(frozen=True)
class SideTrial:
    """One timed batch."""

    kind: ClassVar[str] = "trial"
    side: str = field(metadata=column(SIDE))
    start: int = field(metadata=column(START))
    round: int = field(metadata=column("number of the round, in which both sides run all batch sizes"))
    batch_size: int = field(metadata=column(BATCH_SIZE, "requests"))
    seed: int = field(metadata=column("seed of its prompts"))
    start_ns: int = field(metadata=column("the batch is handed over", "ns of CLOCK_MONOTONIC"))
    end_ns: int = field(metadata=column("all of it is back", "ns of CLOCK_MONOTONIC"))
    tokens: int = field(metadata=column("generated tokens, all requests together", "tokens"))
    latency_s: tuple[float, ...] = field(metadata=column("latency of each of its requests", "s"))

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
    lines = [json.loads(line) for line in whole.splitlines()]
    return [read_record(CLASSES[values.pop("kind")], values) for values in lines]
