"""A text of the notes as paragraphs that have a counterpart, and all else, which every language shares.

A paragraph is a block between blank lines, a row of a table, or the value of `title` or `summary` in a chapter's front
matter. Its key is made of its words, so that a changed paragraph is another one. Stops, other fenced blocks, comments
that claim something of the source, the line below a table's head, and a line that leads to the other language are
shared.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from notes.study.sourceclaims import without

EDGE, FENCE, ROW = "+++", "```", "|"
ENTRY = re.compile(r'(?P<name>title|summary) = (?P<value>".*")')
RULE = re.compile(r"[|:\- ]+")  # what a table's head is underlined with
SWITCH = re.compile(r"\[\w+\]\(README(\.\w+)?\.md\)")  # of a README to the same in another language
HEADING = re.compile(r"#+ ")
ADDRESS = re.compile(r"\]\([^)]*\)")  # of a link
KEY_DIGITS = 8


@dataclass(frozen=True)
class Passage:
    """A part of a text: lines as they are, or, where it has a key, a paragraph's words."""

    text: str
    key: str = ""
    entry: str = ""  # of the front matter, whose value it is

    def shown(self, words: str) -> str:
        """The lines of the text, with `words` in place of the paragraph's."""
        return f"{self.entry} = {json.dumps(words, ensure_ascii=False)}" if self.entry else words


def key(words: str) -> str:
    """What a paragraph is known by: however its lines are broken, it is the same."""
    return hashlib.sha256(" ".join(words.split()).encode()).hexdigest()[:KEY_DIGITS]


def pieces(text: str) -> tuple[Passage, ...]:
    """A text in order; joined by line breaks it is the text again, less the claims in its comments."""
    return tuple(_pieces(without(text).split("\n")))


def paragraphs(text: str) -> tuple[Passage, ...]:
    """Those that have a counterpart."""
    return tuple(piece for piece in pieces(text) if piece.key)


def translated(text: str, counterparts: Mapping[str, str], anchored: bool = False) -> str:
    """The text with a counterpart for every paragraph that has one; `anchored`: its headings with their English ids,
    so that a link to one leads there in each language."""
    ids: list[str] = []
    lines = []
    for piece in pieces(text):
        words = piece.shown(counterparts.get(piece.key, piece.text)) if piece.key else piece.text
        if anchored and piece.key and HEADING.match(piece.text):
            ids.append(anchor(piece.text, ids))
            words = f"{words} {{ #{ids[-1]} }}"
        lines.append(words)
    return "\n".join(lines)


def anchor(heading: str, others: Sequence[str] = ()) -> str:
    """The id that Python-Markdown gives a heading, after those that `others` above it have."""
    words = unicodedata.normalize("NFKD", ADDRESS.sub("", heading)).encode("ascii", "ignore").decode()
    plain = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", words).strip().lower())
    names = (plain, *(f"{plain}_{number}" for number in range(1, len(others) + 1)))
    return next(name for name in names if name not in others)


def _pieces(lines: list[str]) -> Iterator[Passage]:
    block: list[str] = []
    fenced, front = False, False
    for line in lines:
        single = _single(line, fenced, front)
        if block and single is not None:
            yield _paragraph("\n".join(block))
            block = []
        if single is None:
            block.append(line)
        else:
            yield single
        fenced ^= line.startswith(FENCE)
        front ^= line.rstrip() == EDGE
    if block:
        yield _paragraph("\n".join(block))


def _single(line: str, fenced: bool, front: bool) -> Passage | None:
    """The piece that a line is by itself; None where it goes with its neighbours."""
    if front and (match := ENTRY.fullmatch(line)):
        words = json.loads(match["value"])
        return Passage(words, key(words), match["name"])
    shared = fenced or front or not line.strip() or line.startswith((FENCE, EDGE)) or RULE.fullmatch(line)
    if shared or SWITCH.fullmatch(line):
        return Passage(line)
    return _paragraph(line) if line.startswith(ROW) else None


def _paragraph(words: str) -> Passage:
    return Passage(words, key(words))
