"""Counts with their nouns."""

from __future__ import annotations

import pytest

from probes.plurals import counted


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
