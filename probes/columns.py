"""The column dictionary of a written table: a record's fields say what they mean, and the tables of names follow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, fields, is_dataclass
from pathlib import Path
from typing import get_args, get_type_hints

from probes.markdown import table

FILE = "columns.md"  # of a folder; a single table, `spans.csv`, has `spans.csv.columns.md` beside it
KEY = "column"
HEADINGS = ("column", "unit", "meaning", "formula")


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
    columns = dictionary(record_class)
    return "\n".join(table(HEADINGS, [(f"`{each.name}`", each.unit, each.meaning, each.formula) for each in columns]))


def sections(records: Mapping[str, type]) -> str:
    """The dictionaries of records by their headings, each with those of the records that its fields hold.

    A record inside is described once, under all of its places: ``run: `first`, `last` ``. No newline at the end.
    """
    return "\n\n".join(part for heading, record in records.items() for part in _sections(heading, record))


def _sections(heading: str, record_class: type) -> Iterator[str]:
    yield f"## {heading}\n\n{markdown(record_class)}"
    places: dict[type, list[str]] = {}
    for inside, place in _inside(record_class):
        places.setdefault(inside, []).append(f"`{place}`")
    for inside, names in places.items():
        yield f"## {heading.partition(':')[0]}: {', '.join(names)}\n\n{markdown(inside)}"


def _inside(record_class: type, above: str = "") -> Iterator[tuple[type, str]]:
    """The records that a record's fields hold, and those inside them, with the names that lead there."""
    for name, hint in get_type_hints(record_class).items():
        for inside in _types(hint):
            if isinstance(inside, type) and is_dataclass(inside):
                yield inside, f"{above}{name}"
                yield from _inside(inside, f"{above}{name}.")


def _types(hint: object) -> Iterator[object]:
    """The types that a hint is made of: of `tuple[Lap, ...] | None` it is `Lap`, `...` and `NoneType`."""
    parts = get_args(hint)
    yield from (inner for part in parts for inner in _types(part)) if parts else (hint,)


def write_beside(path: Path, record_class: type) -> Path | None:
    """Write the dictionary of a file of records beside it, of `out.jsonl` into `out.jsonl.columns.md`; its path.

    None where it cannot be written, as the records are worth more than what explains them, and where the path is no
    file itself but a pipe or a link: `/dev/stdout` is one to whatever the shell made of our output.
    """
    with contextlib.suppress(OSError):
        if path.is_file() and not path.is_symlink():
            beside = path.with_name(f"{path.name}.{FILE}")
            beside.write_text(f"# {path.name}\n\n{markdown(record_class)}\n")
            return beside
    return None
