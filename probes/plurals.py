"""Counts with their nouns, as messages have them."""

from __future__ import annotations


def counted(count: int, noun: str, several: str = "") -> str:
    """`1 graph`, `1,024 graphs`; with its own plural, `1 process`, `2 processes`."""
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"
