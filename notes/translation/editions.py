"""A text of the notes in one of their languages: the English file, with a counterpart for each of its paragraphs.

What has none yet stands in English; `python -m notes.translation` says what that is.
"""

from __future__ import annotations

from pathlib import Path

from notes.translation import counterparts
from notes.translation.paragraphs import translated

FOLDER = Path(__file__).parent
ENGLISH = "en"
LANGUAGES = (ENGLISH, "zh")


def counterpart(name: str, language: str) -> Path:
    """The file of a text's counterparts, by the text's folder and name, such as `study/day-1`."""
    return FOLDER / language / f"{name}.md"


def text(path: Path, language: str, anchored: bool = False) -> str:
    """The text of an English file in a language; `anchored`: its headings with the ids that they have in English."""
    return worded(path.read_text(encoding="utf-8"), f"{path.parent.name}/{path.stem}", language, anchored)


def worded(english: str, name: str, language: str, anchored: bool = False) -> str:
    """An English text in a language, by the name of its counterparts' file."""
    if language == ENGLISH:
        return english
    known = counterpart(name, language)
    return translated(english, counterparts.read(known) if known.exists() else {}, anchored)
