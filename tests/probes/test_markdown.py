"""Tables in Markdown."""

from __future__ import annotations

from probes.markdown import table


def test_whatever_stands_in_a_cell_stays_in_it() -> None:
    assert table(("name", "size"), [("a|b", 1), ("two\nlines", None)], right=(1,)) == [
        "| name | size |",
        "| --- | ---: |",
        "| a\\|b | 1 |",
        "| two lines |  |",
    ]


def test_a_table_without_rows_has_its_head() -> None:
    assert table(("name",), []) == ["| name |", "| --- |"]
