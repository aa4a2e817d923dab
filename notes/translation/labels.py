"""The fixed words of pages and commands in a language. The English ones stand where they are used; a table has the
others by them, and what it lacks is said in English.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from notes.translation.editions import ENGLISH, FOLDER
from notes.translation.paragraphs import HEADING, anchor, pieces

VALUE = re.compile(r"\\\{(\w+)\\\}")  # a `{name}` in an escaped text


@dataclass(frozen=True)
class Labels:
    """The words of a language by the English ones, and those by the patterns of words that other rooms make; in English
    there are none."""

    language: str = ENGLISH
    words: Mapping[str, str] = field(default_factory=dict)
    patterns: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, english: str, **values: object) -> str:
        """Words or Markdown in this language, paragraph by paragraph, with `values` in place of their `{names}`.

        | the table has         | of           | gives                   |
        | --------------------- | ------------ | ----------------------- |
        | `"calls" = "调用"`    | `calls`      | `调用`                  |
        | `"Tables" = "表格"`   | `## Tables`  | `## 表格 { #tables }`   |
        """
        return "\n".join(self._line(piece.text, values) if piece.key else piece.text for piece in pieces(english))

    def phrase(self, text: str) -> str:
        """Words, or a heading, that another room made of an English pattern and its values."""
        mark, plain = _marked(text)
        for english, words in self.patterns.items():
            pattern = VALUE.sub(r"(?P<\1>.+)", re.escape(english))
            if match := re.fullmatch(pattern, plain):
                return _line(mark, words.format(**match.groupdict()), plain)
        return text

    def _line(self, english: str, values: Mapping[str, object]) -> str:
        mark, plain = _marked(english)
        words = self.words.get(" ".join(plain.split()), plain)
        words = words.format(**values) if values else words
        return _line(mark, words, plain if self.words else "")


def _marked(text: str) -> tuple[str, str]:
    """A heading's mark and its words; no mark where it is none."""
    mark = match[0] if (match := HEADING.match(text)) else ""
    return mark, text[len(mark) :]


def _line(mark: str, words: str, english: str) -> str:
    """Words, or a heading with the id that the English one has."""
    return f"{mark}{words} {{ #{anchor(english)} }}" if mark and english else f"{mark}{words}"


IN_ENGLISH = Labels()


@cache
def read(language: str) -> Labels:
    """The words of a language."""
    if language == ENGLISH:
        return IN_ENGLISH
    table = tomllib.loads((FOLDER / language / "labels.toml").read_text(encoding="utf-8"))
    return Labels(language, table["words"], table["patterns"])
