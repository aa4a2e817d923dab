"""The column dictionary of a record."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from probes.columns import Column, column, dictionary, markdown, sections, write_beside

ROOT = Path(__file__).resolve().parents[2]


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


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_dictionary_lies_beside_its_file_and_beside_nothing_else(tmp_path: Path) -> None:
    explained = tmp_path / "laps.csv.columns.md"
    (tmp_path / "laps.csv").touch()
    assert [write_beside(tmp_path / name, Lap) for name in ("laps.csv", "gone.csv", ".")] == [explained, None, None]
    assert names(tmp_path) == ["laps.csv", "laps.csv.columns.md"]
    assert explained.read_text() == f"# laps.csv\n\n{markdown(Lap)}\n"


def test_files_that_differ_in_their_suffix_alone_have_a_dictionary_each(tmp_path: Path) -> None:
    for name, record in (("out.jsonl", Lap), ("out.csv", Race)):
        (tmp_path / name).touch()
        write_beside(tmp_path / name, record)
    assert markdown(Lap) in (tmp_path / "out.jsonl.columns.md").read_text()
    assert markdown(Race) in (tmp_path / "out.csv.columns.md").read_text()


def test_nothing_lies_beside_what_the_shell_made_of_the_output(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from probes.columns import Column, write_beside\n"
        "print(write_beside(Path('/dev/stdout'), Column))"
    )
    with (tmp_path / "out.csv").open("w") as out:
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=out, check=True)
    assert names(tmp_path) == ["out.csv"] and (tmp_path / "out.csv").read_text() == "None\n"


def test_a_dictionary_that_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "laps.csv").touch()
    (tmp_path / "laps.csv.columns.md").mkdir()
    assert write_beside(tmp_path / "laps.csv", Lap) is None


def test_a_column_without_words_is_named() -> None:
    @dataclass
    class Bare:
        speed: float

    with pytest.raises(TypeError, match=r"Bare\.speed has no column"):
        dictionary(Bare)
