"""Which texts of the notes have counterparts."""

from __future__ import annotations

from pathlib import Path

from notes.study import texts as study
from notes.translation import editions
from notes.walkthrough import chapters
from probes.errors import usage_error

README = "README"
ROOT = Path(__file__).resolve().parents[2]
README_FILES = {"en": ROOT / "README.md", "zh": ROOT / "README.zh.md"}
SWITCHES = {"en": "[中文](README.zh.md)", "zh": "[English](README.md)"}  # the line of each that leads to the other


def sources() -> dict[str, Path]:
    """The English file of every text, by the name of its counterpart's file without its ending."""
    texts = {f"walkthrough/{path.stem}": path for path in sorted(chapters.FOLDER.glob("*.md"))}
    texts |= {f"study/{study.path(page).stem}": study.path(page) for page in study.PAGES}
    return texts | {README: README_FILES["en"]}


def source(name: str) -> Path:
    """The English file of a text; `EnginescopeError` where there is no such text."""
    known = sources()
    if name not in known:
        raise usage_error(f"there is no text {name!r}; the texts are {', '.join(known)}")
    return known[name]


def readme(language: str) -> str:
    """The first page of the project in a language: its line to the other language leads back."""
    text = editions.worded(README_FILES["en"].read_text(encoding="utf-8"), README, language)
    return text.replace(SWITCHES["en"], SWITCHES[language], 1)
