"""The table of every metric: its kind, labels and unit, and the versions of vLLM for which that holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from probes.errors import EnginescopeError
from probes.metrics.names.declarations import Declaration, Tree

PATH = Path(__file__).with_name("metrics.json")
SCHEMA = 1


@dataclass(frozen=True)
class Metric:
    """A metric under one declaration: the name as it stands in the text (of a histogram without `_bucket`), and the
    versions that declare it so."""

    declaration: Declaration
    versions: tuple[str, ...]


@dataclass(frozen=True)
class MetricsTable:
    """All metrics by name, and the versions that were read, in order."""

    versions: tuple[str, ...]
    metrics: tuple[Metric, ...]

    def of(self, version: str) -> tuple[Declaration, ...]:
        """What a version declares; `EnginescopeError` where it was not read."""
        if version not in self.versions:
            raise EnginescopeError(
                f"the table of metrics has no vLLM {version}: it was made of {', '.join(self.versions)}"
            )
        return tuple(metric.declaration for metric in self.metrics if version in metric.versions)

    def spans(self, metric: Metric) -> list[tuple[str, str]]:
        """The first and last version of each stretch of versions, of those read, that has the metric."""
        places = [self.versions.index(version) for version in metric.versions]
        begins = [place for place in places if place - 1 not in places]
        ends = [place for place in places if place + 1 not in places]
        return [(self.versions[begin], self.versions[end]) for begin, end in zip(begins, ends, strict=True)]

    def with_trees(self, trees: Iterable[Tree]) -> MetricsTable:
        """The table with some versions read anew."""
        read = {tree.version: tuple(tree.declarations) for tree in trees}
        kept = {version: self.of(version) for version in self.versions if version not in read}
        return made_of(kept | read)


def made_of(by_version: Mapping[str, Sequence[Declaration]]) -> MetricsTable:
    """A table of what each version declares."""
    versions = sorted(by_version, key=_order)
    holds: dict[Declaration, list[str]] = {}
    for version in versions:
        for declaration in by_version[version]:
            holds.setdefault(declaration, []).append(version)
    ordered = sorted(holds, key=lambda each: (each.name, _order(holds[each][0])))
    return MetricsTable(tuple(versions), tuple(Metric(each, tuple(holds[each])) for each in ordered))


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def load(path: Path = PATH) -> MetricsTable:
    """The table of the project."""
    read = json.loads(path.read_text())
    if read["schema"] != SCHEMA:
        raise EnginescopeError(f"{path} has schema {read['schema']}, this program knows {SCHEMA}: install it anew")
    versions = tuple(read["versions"])
    return MetricsTable(versions, tuple(_metric(row, versions) for row in read["metrics"]))


def _metric(row: dict[str, Any], versions: tuple[str, ...]) -> Metric:  # `Any`: what JSON holds
    spans, labels = row.pop("versions"), row.pop("labels")
    held = (versions[versions.index(first) : versions.index(last) + 1] for first, last in spans)
    declaration = Declaration(**row, labels=None if labels is None else tuple(labels))
    return Metric(declaration, tuple(version for stretch in held for version in stretch))


def save(table: MetricsTable, path: Path = PATH) -> None:
    """Write the table, a line a metric."""
    rows = [json.dumps(asdict(metric.declaration) | {"versions": table.spans(metric)}) for metric in table.metrics]
    head = f'{{"schema": {SCHEMA}, "versions": {json.dumps(table.versions)}, "metrics": [\n'
    path.write_text(head + ",\n".join(rows) + "\n]}\n")
