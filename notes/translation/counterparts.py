"""The counterparts of a text in another language: a file of paragraphs, each below the key of the English one.

    <!-- 1f3a9c2e -->
    你调用 `llm.generate`

They stand in the order of the English text. What a paragraph quotes is the same in both: code, links, figures by their
key, chapters by their number.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from notes.translation.paragraphs import Passage, paragraphs
from probes.errors import usage_error

MARK = re.compile(r"<!-- ([0-9a-f]{8}) -->")
CODE = re.compile(r"`[^`]+`")
QUOTED = re.compile(r"\{\{[^}]+\}\}|<!--.*?-->|\]\([^)]+\)")
CHAPTER = re.compile(r"\bchapters? (\d+)|第 (\d+) 章", re.IGNORECASE)
FORM = re.compile(r"^(#+ |[-*] |\d+\. |\A> )", re.MULTILINE)
PROSE = re.compile(r"[A-Za-z]{2,}")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
BROKEN = re.compile(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]\n(?:> ?| +)?[\u4e00-\u9fff\uff00-\uffef]")
HALF_WIDTH = re.compile(r"[\u4e00-\u9fff][,;:?!]|[,;:?!][\u4e00-\u9fff]")
PROSE_WORDS = 3  # from so many on, a paragraph without a Chinese character has not been translated


def read(path: Path) -> dict[str, str]:
    """Each key's words, in the order of the file; `EnginescopeError` where it has another form or a key twice."""
    try:
        parts = MARK.split(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError) as error:
        raise usage_error(f"{path} cannot be read: {error}") from None
    if parts[0].strip():
        raise usage_error(f"{path}: words before the first <!-- key -->: {parts[0].strip()[:40]!r}")
    words: dict[str, str] = {}
    for key, text in zip(parts[1::2], parts[2::2], strict=True):
        if words.setdefault(key, text.strip("\n")) != text.strip("\n"):
            raise usage_error(f"{path}: two counterparts of {key}")
    return words


def skeleton(text: str, known: dict[str, str]) -> str:
    """The file of a text's counterparts, with the English words where there is none yet."""
    unique = {piece.key: piece.text for piece in paragraphs(text)}
    return "\n".join(f"<!-- {key} -->\n{known.get(key, words)}\n" for key, words in unique.items())


def reread(text: str, known: dict[str, str]) -> dict[str, str]:
    """The counterparts with the keys of the text as it is now: those whose paragraph has changed, in their order.

    `EnginescopeError` where they are not as many: then a paragraph is new or gone, and has to be written or struck.
    """
    now = list(dict.fromkeys(piece.key for piece in paragraphs(text)))
    changed, stale = [key for key in now if key not in known], [key for key in known if key not in now]
    if len(changed) != len(stale):
        raise usage_error(f"{len(changed)} paragraphs without a counterpart, {len(stale)} counterparts of none")
    renamed = dict(zip(stale, changed, strict=True))
    return {renamed.get(key, key): words for key, words in known.items()}


def problems(text: str, known: dict[str, str]) -> Iterator[str]:
    """A line for each paragraph without its counterpart, for each counterpart of none, and for what they differ in."""
    unique = {piece.key: piece for piece in paragraphs(text)}
    for key, piece in unique.items():
        if key not in known:
            yield f"{key} has no counterpart: {_begin(piece.text)}"
        else:
            yield from (f"{key} {difference}: {_begin(piece.text)}" for difference in _differences(piece, known[key]))
    for key, words in known.items():
        if key not in unique:
            yield f"{key} is the counterpart of no paragraph: {_begin(words)}"
    if not known.keys() ^ unique.keys() and [*known] != [*unique]:
        yield "the paragraphs stand in another order than in the English text"


def _differences(piece: Passage, words: str) -> Iterator[str]:
    """What a counterpart lacks or has beyond the English paragraph."""
    for name, pattern in (("code", CODE), ("marks", QUOTED), ("form", FORM)):
        expected, present = (Counter(_unbroken(pattern.findall(each))) for each in (piece.text, words))
        if expected != present:
            yield f"differs in {name}: lacks {[*(expected - present)]}, has {[*(present - expected)]}"
    ours, theirs = ({"".join(match) for match in CHAPTER.findall(each)} for each in (piece.text, words))
    if wrong := (ours - theirs) | (theirs - set(re.findall(r"\d+", piece.text))):
        yield f"names other chapters: {sorted(wrong)}"
    if piece.text.startswith("|") and piece.text.count("|") != words.count("|"):
        yield "has another number of cells"
    if len(PROSE.findall(CODE.sub("", piece.text))) >= PROSE_WORDS and not CHINESE.search(words):
        yield "is not in Chinese"
    if BROKEN.search(words):
        yield "breaks a line inside a sentence, which is shown as a space"
    if match := HALF_WIDTH.search(CODE.sub("", words)):
        yield f"has half-width punctuation beside Chinese: {match[0]}"


def _unbroken(matches: list[str]) -> list[str]:
    """However the lines of a text are broken, what it quotes is the same."""
    return [" ".join(match.split()) for match in matches]


def _begin(words: str) -> str:
    line = " ".join(words.split())
    return line if len(line) <= 60 else f"{line[:59]}…"
