"""The notes as a static site that works from disk: its sources, written from notes, source and trace, and its build."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from notes import quotes
from notes.site import chapterpage, frontpage, processmap, sequence, studypage
from notes.site.chapterpage import Figures, title
from notes.site.sitetimes import site_times
from notes.study import texts
from notes.tables import pages, story
from notes.walkthrough.chapters import Chapter
from probes.errors import EnginescopeError, usage_error
from tracing.breakdown.findings import Findings
from tracing.page.drawings import lanes
from tracing.source.tree import SourceTree

THEME = Path(__file__).resolve().parent / "theme"
BUILT = "built.json"  # of a folder that an earlier build wrote, and that may be replaced
LEFT_OUT = ("404.html", "sitemap.xml", "sitemap.xml.gz")  # for servers only; the first has absolute addresses
EXTENSIONS = ("admonition", "attr_list", "def_list", "footnotes", "md_in_html", "pymdownx.superfences", "tables")


def build(chapters: tuple[Chapter, ...], tree: SourceTree, findings: Findings | None, out: Path) -> int:
    """Write the site to `out`, which must be new, empty or an earlier site; how many pages it has.

    An `EnginescopeError` where the folder is another, a link leads nowhere, or MkDocs is not there.
    """
    out = out.resolve()
    if out.exists() and not (out / BUILT).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise usage_error(f"{out} is not empty and does not hold a site: name another folder with --out")
    figures = Figures(
        quotes.read(quotes.PATH).with_machines(),
        *((site_times(findings), findings.review.about) if findings else ()),
    )
    with tempfile.TemporaryDirectory() as folder:
        docs, site = Path(folder) / "docs", Path(folder) / "site"
        nav = _sources(docs, chapters, tree, findings, figures)
        _mkdocs(docs, site, nav)
        for name in LEFT_OUT:
            (site / name).unlink(missing_ok=True)
        (site / BUILT).write_text(json.dumps({"schema": 1, "vllm": tree.version, "trace": figures.about}) + "\n")
        _replace(site, out)
    return len(list(out.rglob("*.html")))


def _replace(site: Path, out: Path) -> None:
    """Put a site where an earlier one may be; a kill leaves the old one or the new one."""
    fresh = out.with_name(f".{out.name}.new")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(site, fresh)
        shutil.rmtree(out, ignore_errors=True)
        fresh.rename(out)
    except (OSError, shutil.Error) as error:
        raise EnginescopeError(f"cannot write {out}: {error}") from None


# --- sources ---

Nav = list[dict[str, object]]


def _sources(
    docs: Path, chapters: tuple[Chapter, ...], tree: SourceTree, findings: Findings | None, figures: Figures
) -> Nav:
    """Write the site's Markdown and its style; what the menu holds."""
    files = {"index.md": frontpage.front(chapters, tree, findings)}
    files |= {f"walkthrough/{each.name}.md": chapterpage.page(each, chapters, tree, figures) for each in chapters}
    files |= {f"study/{page}.md": studypage.page(page, chapters, tree) for page in texts.PAGES}
    stories = story.read()
    files |= {f"tables/{each.origin.name}.md": pages.page(each) for each in stories}
    files |= {f"tables/{each.origin.name}.svg": pages.chart(each) for each in stories}
    for name, text in files.items():
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        (docs / name).write_text(text)
    shutil.copytree(THEME, docs / "assets")
    (docs / "assets" / "drawings.css").write_text(lanes.STYLE + sequence.STYLE + processmap.STYLE)
    nav: Nav = [
        {"Start": "index.md"},
        {"Walkthrough": [{title(chapter): f"walkthrough/{chapter.name}.md"} for chapter in chapters]},
        {"Study plan": [{texts.title(page): f"study/{page}.md"} for page in texts.PAGES]},
    ]
    if stories:
        nav.append({"Tables": [{each.origin.title: f"tables/{each.origin.name}.md"} for each in stories]})
    return nav


# --- MkDocs ---


def _mkdocs(docs: Path, out: Path, nav: Nav) -> None:
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
        run(load_config(config_file=_no_file(docs), **settings(docs, out, nav)))
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


def settings(docs: Path, out: Path, nav: Nav) -> Mapping[str, object]:
    """MkDocs' configuration: everything from disk, nothing from the web."""
    return {
        "site_name": frontpage.NAME,
        "docs_dir": str(docs),
        "site_dir": str(out),
        "nav": nav,
        "theme": {
            "name": "material",
            "font": False,
            "features": ["navigation.footer", "navigation.indexes", "navigation.top", "toc.integrate"],
            "palette": [_palette("default", "light", "dark"), _palette("slate", "dark", "light")],
        },
        "plugins": ["search", "offline"],
        "markdown_extensions": [*EXTENSIONS, {"toc": {"permalink": True}}],
        "extra": {"generator": False, "polyfills": ["assets/iframe-worker.js"]},
        "extra_css": ["assets/site.css", "assets/drawings.css"],
        "validation": {"anchors": "warn", "unrecognized_links": "warn"},
    }


def _palette(scheme: str, name: str, other: str) -> dict[str, object]:
    return {
        "media": f"(prefers-color-scheme: {name})",
        "scheme": scheme,
        "primary": "custom",
        "accent": "custom",
        "toggle": {"icon": "material/weather-sunny", "name": f"Switch to {other}"},
    }


class _Warnings(logging.Handler):
    """What MkDocs complains of: a link or an anchor that is not there."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
