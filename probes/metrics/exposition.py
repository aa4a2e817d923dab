"""The text that a Prometheus client serves at `/metrics`, and what two looks at it say about the time between them.

Pure: text and clock readings go in, numbers come out. It knows no metric by name but the process's start time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from prometheus_client.parser import text_string_to_metric_families

from probes.errors import EnginescopeError

Labels = tuple[tuple[str, str], ...]
Series = dict[Labels, float]

PROCESS_START = "process_start_time_seconds"
COUNTING = ("counter", "histogram", "summary")  # the types of what only grows while a server lives, but for
UNTYPED = ("unknown", "untyped")  # of what a proxy took the types from: there the names tell
GROWING = ("_total", "_count", "_bucket")
NOT_COUNTS = ("_sum", "_created", "_gcount", "_gsum")  # these: a sum of negative values falls by itself


@dataclass(frozen=True)
class Snapshot:
    """One look at a server: `samples` by name and labels, taken at `time_s` of a monotonic clock.

    `counts` are the names of those samples that only ever grow, `meanings` the server's own words for its metrics.
    """

    time_s: float
    samples: dict[str, Series]
    counts: frozenset[str] = frozenset()
    meanings: dict[str, str] = field(default_factory=dict)

    def series(self, name: str, where: Mapping[str, str] | None = None) -> Series:
        """The samples called `name` whose labels hold all of `where`."""
        pairs = set((where or {}).items())
        return {labels: value for labels, value in self.samples.get(name, {}).items() if pairs <= set(labels)}

    def total(self, name: str, where: Mapping[str, str] | None = None) -> float | None:
        """The sum of these samples; None where the server has none of them."""
        series = self.series(name, where)
        return sum(series.values()) if series else None

    def name_among(self, names: Iterable[str], suffix: str = "") -> str | None:
        """The first of these names under which the server has samples; None where it has none of them."""
        return next((name for name in names if name + suffix in self.samples), None)

    def values_of(self, label: str, names: Iterable[str]) -> list[str]:
        """Every value that `label` has in the samples called `names`, numbers in their own order."""
        every = (pair for name in names for labels in self.samples.get(name, {}) for pair in labels)
        values = {value for key, value in every if key == label}
        return sorted(values, key=lambda value: (len(value), value) if value.isdigit() else (math.inf, value))


def parse(text: str, time_s: float) -> Snapshot:
    """Read one `/metrics` text with the official parser; NaN samples, which say nothing, are left out."""
    samples: dict[str, Series] = {}
    counts: set[str] = set()
    meanings: dict[str, str] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                meanings[sample.name] = family.documentation
                if _only_grows(sample.name, family.type):
                    counts.add(sample.name)
                if not math.isnan(sample.value):
                    samples.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = float(sample.value)
    except (ValueError, IndexError, KeyError) as error:
        first = next((line.strip() for line in text.splitlines() if line.strip()), "nothing")
        raise EnginescopeError(f"this is not Prometheus text ({error}); it begins with {first[:60]!r}") from None
    return Snapshot(time_s, samples, frozenset(counts), meanings)


def _only_grows(name: str, kind: str) -> bool:
    if kind in UNTYPED:
        return name.endswith(GROWING)
    return kind in COUNTING and not name.endswith(NOT_COUNTS)


@dataclass(frozen=True)
class Window:
    """The time between two looks at one server."""

    before: Snapshot
    after: Snapshot

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return self.after.time_s - self.before.time_s

    @cached_property
    def restarted(self) -> bool:
        """Whether the server began anew inside the window, so that its counters began at zero again.

        Prometheus looks at each counter by itself and misses those that have passed their old value since. All counters
        live in one server process, so one that fell, or another time of birth, speaks for all of them.
        """
        return self._any(PROCESS_START, lambda old, new: new != old) or any(
            self._any(name, lambda old, new: new < old) for name in self.before.counts
        )

    def _any(self, name: str, test: Callable[[float, float], bool]) -> bool:
        """Whether `test(before, after)` holds for a series called `name` that both looks saw."""
        now = self.after.samples.get(name, {})
        return any(test(old, now[labels]) for labels, old in self.before.series(name).items() if labels in now)

    def increase(self, name: str, where: Mapping[str, str] | None = None) -> float | None:
        """By how much the counters called `name` grew, summed; None where the server has none of them.

        | before | after | the server   | increase |
        | ------ | ----- | ------------ | -------- |
        | 100    | 130   | went on      | 30       |
        | 100    | 130   | was restarted | 130     |
        | absent | 30    | went on      | 30       |
        """
        grown = self.increases(name, where)
        return sum(grown.values()) if grown else None

    def increases(self, name: str, where: Mapping[str, str] | None = None) -> Series:
        """The same for each series by itself; one that a look did not see yet was born in the window, at zero."""
        old = {} if self.restarted else self.before.series(name, where)
        return {labels: value - old.get(labels, 0.0) for labels, value in self.after.series(name, where).items()}

    def grouped(self, name: str, label: str, where: Mapping[str, str] | None = None) -> dict[str, float]:
        """The increase of `name`, summed for each value of `label`."""
        groups: dict[str, float] = {}
        for labels, value in self.increases(name, where).items():
            key = dict(labels).get(label, "")
            groups[key] = groups.get(key, 0.0) + value
        return groups

    def buckets(self, name: str, where: Mapping[str, str] | None = None) -> list[tuple[float, float]]:
        """The histogram `name` of this window: (upper bound, observations up to it), bounds ascending."""
        return sorted((float(bound), count) for bound, count in self.grouped(f"{name}_bucket", "le", where).items())
