"""What a table of `notes/tables/` shows of one run or trace, and the JSON file that keeps it beside the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from probes.errors import EnginescopeError

SCHEMA = 2  # 1 had the figures of a cell and its axes in one dictionary
FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class TableMachine:
    """The machine that the figures are from."""

    cpu_model: str | None
    cores_usable: int | None
    memory_bytes: int | None
    gpus: tuple[str, ...]


@dataclass(frozen=True)
class Versions:
    """The software that the figures are from; None is not known."""

    vllm: str | None
    vllm_distribution: str | None
    torch: str | None
    transformers: str | None
    python: str | None
    enginescope: str | None
    git_hash: str | None
    git_dirty: bool | None


@dataclass(frozen=True)
class Origin:
    """What made a table: its file's name, its title, the command, where and when it ran, and what to beware of."""

    name: str
    title: str
    command: str
    machine: TableMachine
    versions: Versions
    date: str
    state: str
    caution: str


@dataclass(frozen=True)
class CellMean:
    """A mean over a cell's trials with its 95 % t-interval; without one there was one trial."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class SweepCell:
    """A cell: where it is on each axis, how it went, and its means by column; one that is None was not measured."""

    axes: Mapping[str, str]
    status: str
    reason: str
    trials: int
    means: Mapping[str, CellMean | None]


@dataclass(frozen=True)
class SweepTable:
    """A sweep's cells."""

    origin: Origin
    axes: tuple[str, ...]
    cells: tuple[SweepCell, ...]


@dataclass(frozen=True)
class BudgetRow:
    """A part of the requests' time: median and 95th percentile over the requests, share of all latency."""

    stage: str
    median_ns: float
    p95_ns: float
    share: float


@dataclass(frozen=True)
class BudgetTable:
    """Where the time of a trace's requests went."""

    origin: Origin
    requests: int
    rows: tuple[BudgetRow, ...]


Story = SweepTable | BudgetTable


def encode(story: Story) -> str:
    """A story as JSON."""
    kind = "sweep" if isinstance(story, SweepTable) else "trace"
    return json.dumps({"schema": SCHEMA, "kind": kind, **asdict(story)}, indent=1, ensure_ascii=False) + "\n"


def decode(text: str) -> Story:
    """A story out of its JSON; an `EnginescopeError` for another schema."""
    entries: dict[str, Any] = json.loads(text)
    if entries["schema"] != SCHEMA:
        raise EnginescopeError(f"a table of schema {entries['schema']}, not {SCHEMA}: make tables writes it again")
    origin = _origin(entries["origin"])
    if entries["kind"] == "sweep":
        return SweepTable(origin, tuple(entries["axes"]), tuple(map(_cell, entries["cells"])))
    return BudgetTable(origin, entries["requests"], tuple(BudgetRow(**row) for row in entries["rows"]))


def read(folder: Path = FOLDER) -> list[Story]:
    """The stories of a folder of tables, by name."""
    return [decode(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def _origin(entries: dict[str, Any]) -> Origin:
    machine = TableMachine(**{**entries["machine"], "gpus": tuple(entries["machine"]["gpus"])})
    return Origin(**{**entries, "machine": machine, "versions": Versions(**entries["versions"])})


def _cell(entries: dict[str, Any]) -> SweepCell:
    means = {name: mean and CellMean(**mean) for name, mean in entries["means"].items()}
    return SweepCell(**{**entries, "means": means})
