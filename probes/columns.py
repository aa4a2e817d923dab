"""The column dictionary of a written table: a record's fields say what they mean, and the tables of names follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, fields

KEY = "column"
HEADING = "| column | unit | meaning | formula |\n| --- | --- | --- | --- |"


@dataclass(frozen=True)
class Column:
    """What a column holds; `unit` and `formula` are empty where there is none."""

    name: str
    meaning: str
    unit: str
    formula: str


def column(meaning: str, unit: str = "", formula: str = "") -> Mapping[str, tuple[str, str, str]]:
    """The metadata of a dataclass field: `latency_s: float = field(metadata=column("…", "s", "ended - sent"))`."""
    return {KEY: (meaning, unit, formula)}


def dictionary(record_class: type) -> list[Column]:
    """The columns of a record, in the order of its fields; TypeError names a field that says nothing.

    A field that would be a keyword of Python ends in `_`, its column does not.
    """
    return [_column(record_class, field) for field in fields(record_class)]


def _column(record_class: type, field: Field[object]) -> Column:
    if KEY not in field.metadata:
        raise TypeError(f"{record_class.__name__}.{field.name} has no column(…)")
    return Column(field.name.rstrip("_"), *field.metadata[KEY])


def markdown(record_class: type) -> str:
    """The dictionary as a Markdown table, without a newline at its end."""
    return "\n".join((HEADING, *map(_row, dictionary(record_class))))


def _row(each: Column) -> str:
    cells = (f"`{each.name}`", each.unit, each.meaning, each.formula)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
