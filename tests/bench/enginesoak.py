"""What a soak asks of an engine that others keep busy: its rings' records and files, and its processes' memory."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import psutil

from tests.bench.soak import MIB
from tracing.attach.ring import Ring, new_rings
from tracing.events import processfile

FILE, PERIOD_S = "soak.jsonl", 300.0
HEAD = "| engine | minute | records | laps | files, MiB | memory, MiB | dropped |"


@dataclass(frozen=True)
class RingLook:
    """One process of an engine at a moment; `engine` is the first process, `memory_bytes` are anonymous."""

    engine: int
    minute: float
    role: str
    written: int
    slots: int
    dropped: int
    file_bytes: int
    memory_bytes: int


class EngineSoak:
    """Looks at all processes of an engine each five minutes, and adds a line for each of them to a file."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.source, self.path = source, folder / FILE
        self.begun_s = self.due_s = time.monotonic()

    def look_if_due(self) -> None:
        if time.monotonic() >= self.due_s:
            self.due_s += PERIOD_S
            self.look()

    def look(self) -> None:
        rings = list(new_rings(self.source, ()))
        minute, engine = (time.monotonic() - self.begun_s) / 60, min(ring.pid for ring in rings)
        with self.path.open("a") as file:
            for ring in rings:
                file.write(json.dumps(asdict(_look(ring, engine, minute))) + "\n")
                ring.close()


def _look(ring: Ring, engine: int, minute: float) -> RingLook:
    process = processfile.read(ring.path)
    assert process is not None
    file_bytes = sum(path.stat().st_size for path in ring.path.parent.glob(f"{ring.path.stem}.*"))
    memory = psutil.Process(ring.pid).memory_info()
    counts = (ring.written(), ring.slots, ring.dropped())
    return RingLook(engine, minute, process.serves[0], *counts, file_bytes, memory.rss - memory.shared)


def looks(folder: Path) -> list[RingLook]:
    """What was seen, in its order; nothing where nobody looked."""
    path = folder / FILE
    return [RingLook(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def table(seen: list[RingLook]) -> str:
    """The published table: a row a look, memory in the order of the processes' roles."""
    return "\n".join([HEAD, "| ---: | ---: | ---: | ---: | ---: | --- | ---: |", *_rows(seen), ""])


def _rows(seen: list[RingLook]) -> Iterator[str]:
    engines = list(dict.fromkeys(look.engine for look in seen))
    for (engine, minute), group in groupby(seen, key=lambda look: (look.engine, look.minute)):
        each = list(group)
        laps = sorted(look.written / look.slots for look in each)
        memory = ", ".join(f"{look.role} {look.memory_bytes / MIB:.1f}" for look in each)
        written, dropped = sum(look.written for look in each), sum(look.dropped for look in each)
        size = f"{sum(look.file_bytes for look in each) / MIB:.1f}"
        counts = f"{written:,} | {laps[0]:.1f} to {laps[-1]:.1f} | {size} | {memory} | {dropped}"
        yield f"| {engines.index(engine) + 1} | {minute:.0f} | {counts} |"
