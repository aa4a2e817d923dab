"""What a table of `notes/tables/` shows of one run or trace, and the JSON file that keeps it beside the page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from probes.errors import EnginescopeError
from probes.jsonform import read_record

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

    axes: dict[str, str]
    status: str
    reason: str
    trials: int
    means: dict[str, CellMean | None]


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
KINDS: dict[str, type[Story]] = {"sweep": SweepTable, "trace": BudgetTable}


def encode(story: Story) -> str:
    """A story as JSON."""
    kind = "sweep" if isinstance(story, SweepTable) else "trace"
    return json.dumps({"schema": SCHEMA, "kind": kind, **asdict(story)}, indent=1, ensure_ascii=False) + "\n"


def decode(text: str) -> Story:
    """A story out of its JSON; an `EnginescopeError` for another schema."""
    values = json.loads(text)
    schema = values.pop("schema")
    if schema != SCHEMA:
        raise EnginescopeError(f"a table has schema {schema}, this version reads {SCHEMA}: make tables writes it again")
    return read_record(KINDS[values.pop("kind")], values)


def read(folder: Path = FOLDER) -> list[Story]:
    """The stories of a folder of tables, by name."""
    return [decode(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
