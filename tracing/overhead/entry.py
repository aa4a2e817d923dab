"""What a measurement of overhead keeps, as records: trials, intervals, a row an arm, and the entry of one engine shape.

`write` and `read` are the only places where they are JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from probes.columns import column
from probes.jsonform import read_record


@dataclass(frozen=True)
class WatchedTrial:
    """One batch: its times on CLOCK_MONOTONIC, its throughput, and the median request's latencies."""

    start_ns: int
    end_ns: int
    tok_s: float
    ttft_s: float  # from `start_ns` on
    tpot_s: float  # without the first token


Round = dict[str, WatchedTrial]  # by arm


@dataclass(frozen=True)
class Interval:
    """A median with its 95 % interval; `lo` and `hi` are None where there are too few values for one."""

    median: float = field(metadata=column("the median", "1"))
    lo: float | None = field(metadata=column("the interval's lower end; null: too few values", "1"))
    hi: float | None = field(metadata=column("its upper end; null: too few values", "1"))
    n: int = field(metadata=column("how many values", "rounds"))

    def __str__(self) -> str:
        """`+1.2% [+0.8%, +1.9%]`, of a change."""
        if self.lo is None:
            return f"{self.median:+.1%} (n={self.n})"
        return f"{self.median:+.1%} [{self.lo:+.1%}, {self.hi:+.1%}]"


@dataclass(frozen=True)
class Changes:
    """What an arm changes against the plain engine of the same round: 0.02 is 2 % more."""

    tok_s: Interval = field(metadata=column("of the throughput", "1", "watched / plain - 1"))
    ttft_s: Interval = field(metadata=column("of the time to the first token", "1", "watched / plain - 1"))
    tpot_s: Interval = field(metadata=column("of the time an output token", "1", "watched / plain - 1"))


@dataclass(frozen=True)
class Between:
    """The way between processes, nanoseconds a step: the stages that serve it, and both hops over ZMQ."""

    serialize_ns: float
    send_ns: float
    deserialize_ns: float
    zmq_ns: float


@dataclass(frozen=True)
class Output:
    """What an arm's watcher wrote while the arm was measured; `between` and `frozen_steps` where it recorded spans."""

    records_s: float
    bytes_s: float
    between: Between | None = None
    frozen_steps: tuple[int, ...] = ()


@dataclass(frozen=True)
class Row:
    """An arm: its changes, or why it is `missing`; `measured` is the day where that is not the entry's."""

    arm: str
    missing: str | None = None
    processes: int | None = None
    changes: Changes | None = None
    output: Output | None = None
    measured: str = ""


@dataclass(frozen=True)
class Plain:
    """The plain engine's own medians."""

    tok_s: float
    ttft_s: float
    tpot_s: float


@dataclass(frozen=True)
class Entry:
    """All arms at one batch size of a model on a machine; `machine` is its fingerprint."""

    measured: str  # the day
    machine: dict[str, object]
    model: str
    batch_size: int
    input_len: int
    output_len: int
    plain: Plain
    rows: tuple[Row, ...]

    @property
    def shape(self) -> tuple[str, int, int, int]:
        """What has to be the same in two entries for the one to take the place of the other."""
        return self.model, self.batch_size, self.input_len, self.output_len

    def row(self, arm: str) -> Row | None:
        """The arm's row where it was measured."""
        return next((row for row in self.rows if row.arm == arm and not row.missing), None)


@dataclass(frozen=True)
class QuotedCost:
    """What one watcher was measured to change, and `plain`, by how much the throughput of two plain engines differed:
    nothing smaller can be told."""

    arm: str = field(metadata=column("the watcher"))
    measured: str = field(metadata=column("the day"))
    model: str = field(metadata=column("the model that was watched"))
    batch_size: int = field(metadata=column("requests at a time", "requests"))
    input_len: int = field(metadata=column("of each request", "tokens"))
    output_len: int = field(metadata=column("of each request", "tokens"))
    changes: Changes = field(metadata=column("what the watcher changed against a plain engine"))
    plain: Interval | None = field(
        metadata=column("the throughput's change in a second plain engine; null: not measured", "1")
    )

    def __str__(self) -> str:
        second = f"; a second plain engine's throughput differed by {self.plain}" if self.plain else ""
        return (
            f"On this machine {self.arm} changed throughput by {self.changes.tok_s}, TTFT by {self.changes.ttft_s} and "
            f"TPOT by {self.changes.tpot_s}{second} ({self.model} model, batch size {self.batch_size}; "
            f"tracing.overhead, {self.measured})"
        )


def write(entry: Entry) -> dict[str, object]:
    """An entry as JSON holds it."""
    return asdict(entry)


def read(values: Mapping[str, object]) -> Entry:
    """An entry out of JSON; `TypeError`, `AttributeError` or a `ValueError` where it is none."""
    return read_record(Entry, values)
