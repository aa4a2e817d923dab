"""Which texts of the notes have counterparts, and where these stand."""

from __future__ import annotations

from pathlib import Path

from notes.study import texts as study
from notes.walkthrough import chapters
from probes.errors import usage_error

FOLDER = Path(__file__).parent
LANGUAGES = ("zh",)
README = "README"
ROOT = FOLDER.parent.parent


def sources() -> dict[str, Path]:
    """The English file of every text, by the name of its counterpart's file without its ending."""
    texts = {f"walkthrough/{path.stem}": path for path in sorted(chapters.FOLDER.glob("*.md"))}
    texts |= {f"study/{study.path(page).stem}": study.path(page) for page in study.PAGES}
    return texts | {README: ROOT / "README.md"}


def source(name: str) -> Path:
    """The English file of a text; `EnginescopeError` where there is no such text."""
    known = sources()
    if name not in known:
        raise usage_error(f"there is no text {name!r}; the texts are {', '.join(known)}")
    return known[name]


def counterpart(name: str, language: str) -> Path:
    """The file of a text's counterparts."""
    return FOLDER / language / f"{name}.md"
