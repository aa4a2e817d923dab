"""The phases of an engine's start as its processes wrote them down: a line each in `start.jsonl`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from probes.columns import column
from probes.jsonform import known_fields, read_record
from tracing.sites.starting import FILE


@dataclass(frozen=True)
class EnginePhase:
    """A start-up phase that an engine process passed, with what its worker knew then."""

    phase: str = field(metadata=column("name of the phase"))
    pid: int = field(metadata=column("process that passed it"))
    start_ns: int = field(metadata=column("its start", "ns"))
    end_ns: int = field(metadata=column("its end", "ns"))
    weights_bytes: int | None = field(default=None, metadata=column("size of the worker's weights", "bytes"))
    kv_cache_bytes: int | None = field(default=None, metadata=column("size of the worker's KV cache", "bytes"))
    attention_backend: tuple[str, ...] | None = field(default=None, metadata=column("its attention backends"))

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end_ns - self.start_ns) / 1e9


def read_phases(folder: Path) -> list[EnginePhase]:
    """The phases that were passed, in the order of their ends; a line that was cut is left out, as is what another
    version says besides, and without a file there are none."""
    path = folder / FILE
    lines = path.read_text().splitlines() if path.exists() else []
    passed = (json.loads(line) for line in lines if line.endswith("}"))
    return [read_record(EnginePhase, known_fields(EnginePhase, values)) for values in passed]
