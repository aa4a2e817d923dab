"""Tables fit the width there is, and lines that go to a file end with their last word."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from probes.console import PLAIN_WIDTH, Section, console, counted, percent, show_section, show_text, table

COLUMNS = ["step", "schedule", "model", "likely reason"]
ROWS = [
    ["first decode", "143.6 µs", "12.90 ms", "garbage collection of the oldest generation: 2.0 ms"],
    ["x", 1, 2, ""],
]


def printed(width: int) -> list[str]:
    out = Console(file=io.StringIO(), width=width)
    table(out, "slowest", COLUMNS, ROWS, (3,))
    return out.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


def test_a_share_that_is_small_is_not_shown_as_none() -> None:
    shares = (None, 0.0, 0.00004, 0.0001, 0.1234, 1.5)
    assert [percent(share) for share in shares] == ["n/a", "0%", "<0.01%", "0.01%", "12.34%", "150.00%"]


def test_a_title_may_be_wider_than_its_table() -> None:
    out = Console(file=io.StringIO(), width=100)
    table(out, "stages by role (they may lie [inside] each other)", ["a", "b"], [["x", 1]])
    text: str = out.file.getvalue()  # type: ignore[attr-defined]
    assert text.splitlines() == ["", "stages by role (they may lie [inside] each other)", "a  b", "x  1"]


def test_what_stands_in_a_table_is_text_and_never_markup() -> None:
    out = Console(file=io.StringIO(), width=100)
    table(out, "of [x]\x1b", ["request", "[b]"], [["a[/b]", "[red]:smile:\x1b[2J"]])
    text: str = out.file.getvalue()  # type: ignore[attr-defined]
    assert text.splitlines() == ["", "of [x] ", "request               [b]", "a[/b]    [red]:smile: [2J"]


def test_a_section_is_no_markup_and_shows_no_escapes() -> None:
    out = Console(file=io.StringIO(), width=100)
    show_section(out, Section("Slowest of [red].jsonl", ["request", "s"], [["[/b]\x1b[1m", "1"]]))
    text: str = out.file.getvalue()  # type: ignore[attr-defined]
    assert text.splitlines() == ["", "Slowest of [red].jsonl", "request   s", "[/b] [1m  1"]


def test_a_table_with_room() -> None:
    assert printed(100) == [
        "",
        "slowest",
        "step          schedule     model  likely reason",
        "first decode  143.6 µs  12.90 ms  garbage collection of the oldest generation: 2.0 ms",
        "x                    1         2",
    ]


def test_what_does_not_fit_beside_each_other_stands_below() -> None:
    assert printed(36) == [
        "",
        "slowest",
        "step          schedule     model",
        "first decode  143.6 µs  12.90 ms",
        "x                    1         2",
        "",
        "step          likely reason",
        "first decode  garbage collection of",
        "              the oldest generation:",
        "              2.0 ms",
        "x",
    ]


@pytest.mark.parametrize("width", [30, 40, 60, 80, 180])
def test_nothing_is_wider_or_ends_in_a_space(width: int) -> None:
    lines = printed(width)
    assert max(map(len, lines)) <= width and not any(line.endswith(" ") for line in lines)


def test_a_sentence_in_a_pipe_is_one_line() -> None:
    out = Console(file=io.StringIO(), width=20)
    show_text(out, "[b]5 of 5 requests whole and unharmed")
    assert out.file.getvalue() == "[b]5 of 5 requests whole and unharmed\n"  # type: ignore[attr-defined]


def test_the_width_is_that_of_columns_where_no_terminal_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.isatty", lambda _: False)
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console().width == PLAIN_WIDTH
    monkeypatch.setenv("COLUMNS", "97")
    assert console().width == 97


def test_a_sentence_to_a_pipe_is_one_line_however_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "12")
    out = console()
    with out.capture() as capture:
        out.print("no range in this report is known", markup=False)
    assert capture.get() == "no range in this report is known\n"


@pytest.mark.parametrize(
    "words, text",
    [
        ((1, "graph"), "1 graph"),
        ((0, "graph"), "0 graphs"),
        ((1024, "graph"), "1,024 graphs"),
        ((1, "process", "processes"), "1 process"),
        ((2, "process", "processes"), "2 processes"),
    ],
)
def test_a_noun_is_in_the_number_of_its_count(words: tuple[int, str], text: str) -> None:
    assert counted(*words) == text
