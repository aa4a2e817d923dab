"""Reads the step log of a running or dead core, and what its processes said of their hooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from probes.jsonform import read_record
from tracing.events.step import CAPACITY, HEADER, MAGIC, RECORD, STEP_SITES, Step

SITES = {".".join(site) for site in STEP_SITES}


@dataclass(frozen=True)
class HookProof:
    """What a process that loaded the plugin hooked, and when it loaded it."""

    pid: int
    hooked: tuple[str, ...]
    missing: tuple[str, ...]
    plugin_ns: int

    @property
    def has_steps(self) -> bool:
        """Whether its steps are in the log."""
        return set(self.hooked) >= SITES


class StepLog:
    """The step logs of a folder, one a core."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mark(self) -> dict[str, int]:
        """How many records each core has written; pass it to `since` to get the later ones."""
        return {path.name: _written(path) for path in self._logs()}

    def since(self, mark: dict[str, int]) -> tuple[list[Step], int]:
        """The records written after `mark`, by start, and how many of those were overwritten before this look."""
        steps: list[Step] = []
        lost = 0
        for path in self._logs():
            asked, count = mark.get(path.name, 0), _written(path)
            first = max(asked, count - CAPACITY)
            lost += first - asked
            steps.extend(_read(path, first, count))
        return sorted(steps, key=lambda step: step.start_ns), lost

    def proof(self) -> list[HookProof]:
        """One a process that loaded the plugin."""
        files = sorted(self.folder.glob("hooks-*.json"))
        return [read_record(HookProof, json.loads(path.read_text())) for path in files]

    def _logs(self) -> list[Path]:
        return sorted(self.folder.glob("steps-*.bin"))


def _written(path: Path) -> int:
    with path.open("rb") as file:
        head = file.read(HEADER.size)
    magic, count, _ = HEADER.unpack(head) if len(head) == HEADER.size else (b"", 0, 0)
    return count if magic == MAGIC else 0


def _read(path: Path, first: int, end: int) -> Iterator[Step]:
    with path.open("rb") as file:
        for index in range(first, end):
            if index == first or index % CAPACITY == 0:
                file.seek(HEADER.size + index % CAPACITY * RECORD.size)
            yield Step(*RECORD.unpack(file.read(RECORD.size)))
