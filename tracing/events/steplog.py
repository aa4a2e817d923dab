"""Reads the step log of a running or dead core, and what its processes said of their hooks and their start."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tracing.events.step import CAPACITY, HEADER, MAGIC, RECORD, Step
from tracing.sites.starting import FILE


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

    def proof(self) -> list[dict[str, Any]]:
        """One entry a process that loaded the plugin: `pid`, `hooked`, `missing`."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("hooks-*.json"))]

    def start_phases(self) -> list[dict[str, Any]]:
        """The start-up phases that were passed, with what the worker knew then."""
        path = self.folder / FILE
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

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
