"""One edition of the site through MkDocs: its Markdown to pages that work from disk, in its language."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from notes.site import frontpage
from notes.translation.labels import Labels
from probes.errors import EnginescopeError

TEMPLATES = Path(__file__).resolve().parent / "templates"
EXTENSIONS = ("admonition", "attr_list", "def_list", "footnotes", "md_in_html", "pymdownx.superfences", "tables")
NAMES = {"en": "English", "zh": "中文"}
PLACES = {"en": "", "zh": "zh/"}  # of an edition in the site's folder
# Chinese has no spaces: each character is a term of its own there. What separates other words comes first, or the cut
# in front of it would leave it in the next term.
SEARCH = {"zh": {"separator": r"[\s\-\u200b\u3000-\u303f\uff00-\uffef]+|(?=[\u4e00-\u9fff])|(?<=[\u4e00-\u9fff])"}}
SCRIPTS = {"zh": ("assets/chinese-search.js",)}

Nav = list[dict[str, object]]


def build(docs: Path, out: Path, nav: Nav, say: Labels, others: Sequence[str] = ()) -> None:
    """Build one edition, with a link to the `others` on each of its pages; an `EnginescopeError` where it cannot be."""
    try:
        from mkdocs.commands.build import build as run
        from mkdocs.config import load_config
        from mkdocs.exceptions import MkDocsException
    except ImportError:
        raise EnginescopeError("mkdocs-material is not installed: pip install 'enginescope[notes]'") from None
    warnings = _Warnings()
    log = logging.getLogger("mkdocs")
    log.addHandler(warnings)
    log.propagate = False
    try:
        run(load_config(config_file=_no_file(docs), **settings(docs, out, nav, say, others)))
    except MkDocsException as error:
        warnings.lines.append(str(error))
    finally:
        log.removeHandler(warnings)
    if warnings.lines:
        raise EnginescopeError(f"the site was not built: {warnings.lines[0]}")


def _no_file(docs: Path) -> str:
    """An empty configuration file, so that none of the folder we are in is read."""
    path = docs.parent / "mkdocs.yml"
    path.write_text("{}\n")
    return str(path)


def settings(docs: Path, out: Path, nav: Nav, say: Labels, others: Sequence[str] = ()) -> Mapping[str, object]:
    """MkDocs' configuration: everything from disk, nothing from the web."""
    return {
        "site_name": say(frontpage.NAME),
        "docs_dir": str(docs),
        "site_dir": str(out),
        "nav": nav,
        "theme": {
            "name": "material",
            "custom_dir": str(TEMPLATES),
            "language": say.language,
            "font": False,
            "features": ["navigation.footer", "navigation.indexes", "navigation.top", "toc.integrate"],
            "palette": [
                _palette("default", "light", say("Switch to dark")),
                _palette("slate", "dark", say("Switch to light")),
            ],
        },
        "plugins": [{"search": SEARCH.get(say.language, {})}, "offline"],
        "markdown_extensions": [*EXTENSIONS, {"toc": {"permalink": True}}],
        "extra": {
            "generator": False,
            "scope": "/",  # of what a reader has chosen, dark or light: of both languages
            "polyfills": ["assets/iframe-worker.js", "assets/deployment.js", *SCRIPTS.get(say.language, ())],
            "alternate": bool(others),
            "switches": [_switch(say.language, other) for other in others],
        },
        "extra_css": ["assets/site.css", "assets/drawings.css"],
        "validation": {"anchors": "warn", "unrecognized_links": "warn"},
    }


def _switch(language: str, other: str) -> dict[str, str]:
    """What leads from a page to the same in another language."""
    up = "../" * PLACES[language].count("/")
    return {"language": other, "name": NAMES[other], "place": f"{up}{PLACES[other]}"}


def _palette(scheme: str, name: str, words: str) -> dict[str, object]:
    return {
        "media": f"(prefers-color-scheme: {name})",
        "scheme": scheme,
        "primary": "custom",
        "accent": "custom",
        "toggle": {"icon": "material/weather-sunny", "name": words},
    }


class _Warnings(logging.Handler):
    """What MkDocs complains of: a link or an anchor that is not there."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
