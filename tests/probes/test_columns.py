"""The column dictionary of a record."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from probes.columns import Column, column, dictionary, markdown, sections, write_beside


@dataclass(frozen=True)
class Lap:
    name: str = field(metadata=column("who ran, a|b"))
    pace_s: float = field(default=0.0, metadata=column("time for a metre", "s", "time / length"))


def test_the_columns_of_a_record() -> None:
    assert dictionary(Lap) == [
        Column("name", "who ran, a|b", "", ""),
        Column("pace_s", "time for a metre", "s", "time / length"),
    ]


def test_a_markdown_table() -> None:
    assert markdown(Lap) == (
        "| column | unit | meaning | formula |\n"
        "| --- | --- | --- | --- |\n"
        "| `name` |  | who ran, a\\|b |  |\n"
        "| `pace_s` | s | time for a metre | time / length |"
    )


@dataclass(frozen=True)
class Race:
    laps: tuple[Lap, ...] = field(metadata=column("all of them"))
    fastest: Lap | None = field(metadata=column("the fastest; null: none was run"))


def test_a_record_inside_a_record_is_described_once_under_all_of_its_places() -> None:
    race, lap = markdown(Race), markdown(Lap)
    assert sections({"races.jsonl: a line a race": Race, "laps.csv": Lap}) == (
        f"## races.jsonl: a line a race\n\n{race}\n\n## races.jsonl: `laps`, `fastest`\n\n{lap}\n\n## laps.csv\n\n{lap}"
    )


def test_a_dictionary_lies_beside_its_file_and_beside_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "laps.csv").touch()
    for name in ("laps.csv", "gone.csv", "."):
        write_beside(tmp_path / name, Lap)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["laps.columns.md", "laps.csv"]
    assert (tmp_path / "laps.columns.md").read_text() == f"# laps.csv\n\n{markdown(Lap)}\n"


def test_a_column_without_words_is_named() -> None:
    @dataclass
    class Bare:
        speed: float

    with pytest.raises(TypeError, match=r"Bare\.speed has no column"):
        dictionary(Bare)
