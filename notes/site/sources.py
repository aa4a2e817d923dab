"""The notes as a static site that works from disk: its sources, written from notes, source and trace, and its build."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from notes import quotes
from notes.site import chapterpage, edgepage, frontpage, mkdocssite, processmap, sequence, studypage
from notes.site.chapterpage import Figures, title
from notes.site.deployment import drawn
from notes.site.mkdocssite import PLACES, Nav
from notes.site.sitetimes import site_times
from notes.study import texts
from notes.tables import pages, story
from notes.translation import labels
from notes.translation.labels import Labels
from notes.walkthrough.chapters import Chapter
from probes.errors import EnginescopeError, usage_error
from tracing.breakdown.findings import Findings
from tracing.page.drawings import lanes
from tracing.source.tree import SourceTree

THEME = Path(__file__).resolve().parent / "theme"
BUILT = "built.json"  # of a folder that an earlier build wrote, and that may be replaced
LEFT_OUT = ("404.html", "sitemap.xml", "sitemap.xml.gz")  # for servers only; the first has absolute addresses


Editions = Mapping[str, tuple[Chapter, ...]]  # the chapters by language; the English ones are the site's root


def build(editions: Editions, tree: SourceTree, findings: Findings | None, out: Path) -> int:
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
        site = Path(folder) / "site"
        for language in sorted(editions, key=lambda each: PLACES[each]):  # the root first: each empties its folder
            docs, place = Path(folder) / language, site / PLACES[language]
            say = labels.read(language)
            nav = _sources(docs, editions[language], tree, findings, figures, say)
            mkdocssite.build(docs, place, nav, say, [other for other in editions if other != language])
            for name in LEFT_OUT:
                (place / name).unlink(missing_ok=True)
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


def _sources(
    docs: Path,
    chapters: tuple[Chapter, ...],
    tree: SourceTree,
    findings: Findings | None,
    figures: Figures,
    say: Labels,
) -> Nav:
    """Write the site's Markdown and its style; what the menu holds."""
    files = {"index.md": frontpage.front(chapters, tree, findings, say)}
    files |= {f"walkthrough/{each.name}.md": chapterpage.page(each, chapters, tree, figures, say) for each in chapters}
    files["walkthrough/edges.md"] = edgepage.page(chapters, say)
    files |= {f"study/{page}.md": studypage.page(page, chapters, tree, say) for page in texts.PAGES}
    stories = story.read()
    files |= {f"tables/{each.origin.name}.md": pages.page(each, say) for each in stories}
    files |= {f"tables/{each.origin.name}.svg": pages.chart(each) for each in stories}
    for name, text in files.items():
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        (docs / name).write_text(text, encoding="utf-8")
    shutil.copytree(THEME, docs / "assets")
    (docs / "assets" / "drawings.css").write_text(lanes.STYLE + sequence.STYLE + processmap.STYLE + drawn.style())
    nav: Nav = [
        {say("Start"): "index.md"},
        {
            say("Walkthrough"): [
                *({title(chapter): f"walkthrough/{chapter.name}.md"} for chapter in chapters),
                {say(edgepage.TITLE): "walkthrough/edges.md"},
            ]
        },
        {say("Study plan"): [{texts.title(page, say.language): f"study/{page}.md"} for page in texts.PAGES]},
    ]
    if stories:
        nav.append(
            {say("Tables"): [{say.phrase(each.origin.title): f"tables/{each.origin.name}.md"} for each in stories]}
        )
    return nav
