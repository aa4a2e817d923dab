"""The terms of a language: a table of the English word and of the words that its counterpart may be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from notes.translation.counterparts import CODE
from notes.translation.paragraphs import paragraphs
from probes.errors import usage_error

COLUMNS = 4  # term, its word, other words that are allowed, whether the English one is kept
ALLOWED = re.compile(r"[、,]")


@dataclass(frozen=True)
class Term:
    """An English term, and the words of which one must be in a counterpart."""

    english: str
    words: tuple[str, ...]

    def is_in(self, text: str) -> bool:
        """Whether an English text has it, in the singular or the plural; code does not count."""
        return bool(re.search(rf"\b{re.escape(self.english)}s?\b", CODE.sub("", text), re.IGNORECASE))

    def is_kept_in(self, text: str) -> bool:
        """Whether a counterpart has one of its words, however written."""
        return any(word.lower() in text.lower() for word in self.words)


def read(path: Path) -> tuple[Term, ...]:
    """The rows of a language's table; `EnginescopeError` where one has another number of cells."""
    rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("|")][2:]
    return tuple(_term(row, path) for row in rows)


def problems(text: str, known: Mapping[str, str], terms: tuple[Term, ...]) -> Iterator[str]:
    """A line for each counterpart that lacks the word of a term that is in the English paragraph."""
    for piece in paragraphs(text):
        words = known.get(piece.key)
        for term in terms if words is not None else ():
            if term.is_in(piece.text) and not term.is_kept_in(words or ""):
                yield f"{piece.key} lacks {' or '.join(term.words)} for {term.english!r}"


def _term(row: str, path: Path) -> Term:
    cells = [cell.strip() for cell in row.strip().strip("|").split("|")]
    if len(cells) != COLUMNS:
        raise usage_error(f"{path}: {len(cells)} cells, not {COLUMNS}: {row}")
    english, word, others, _ = cells
    return Term(english, (word, *(other.strip() for other in ALLOWED.split(others) if other.strip())))
