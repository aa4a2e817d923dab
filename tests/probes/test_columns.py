"""The column dictionary of a record."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from probes.columns import Column, column, dictionary, markdown


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


def test_a_column_without_words_is_named() -> None:
    @dataclass
    class Bare:
        speed: float

    with pytest.raises(TypeError, match=r"Bare\.speed has no column"):
        dictionary(Bare)
