"""A chapter of the walkthrough as a Markdown page: each stop's source beside its text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from notes.quotes import KEY, Quote, fill
from notes.site.deployment import drawn
from notes.site.deployment.stops import at_stop
from notes.site.excerptblock import source
from notes.site.sitetimes import SiteTime
from notes.translation.labels import IN_ENGLISH, Labels
from notes.walkthrough.anchors import Verdict
from notes.walkthrough.chapters import Chapter, Stop, explaining_first
from notes.walkthrough.claims.judgement import TO_FIX, Judgement, judge
from probes.console import percent, us
from tracing.source.tree import SourceTree

REFERENCE = re.compile(r"\bchapter (\d+)\b|第 (\d+) 章")
RELEASE = re.compile(r"\d+\.\d+\.\d+")  # a version that has a tag
TAGGED = "https://github.com/vllm-project/vllm/blob/v{version}/{file}#L{line}"
UNSOUND = "In vLLM {version} this place is {standing}: {reasons}. The note may be wrong there."
MEDIAN = "{site}: <b>{median}</b> at the median of {calls} calls"


@dataclass(frozen=True)
class Figures:
    """The times on the pages: the committed values that the text quotes by key, and those of a trace by site, with the
    machine and version that belong to the latter."""

    quotes: Mapping[str, Quote]
    times: Mapping[str, SiteTime] = field(default_factory=dict)
    about: str = ""


def title(chapter: Chapter) -> str:
    """With its number."""
    return f"{chapter.number}. {chapter.title}" if chapter.number else chapter.title


def page(
    chapter: Chapter, chapters: Sequence[Chapter], tree: SourceTree, figures: Figures, say: Labels = IN_ENGLISH
) -> str:
    """The page's Markdown."""
    links = stop_links(chapters)
    parts = [f"# {title(chapter)}", f'<p class="summary">{escape(chapter.summary)}</p>']
    parts += [drawn.switch(say)] if chapter.stops else []
    firsts = {stop.anchor.target: stop.name for stop in reversed(chapter.stops)}
    for part in chapter.parts:
        text = linked(filled(part.text if isinstance(part, Stop) else part, figures.quotes), chapters)
        parts.append(
            _stop(part, text, tree, figures, links, firsts[part.anchor.target], say) if isinstance(part, Stop) else text
        )
    parts += drawn.runs_of(chapter.number, addresses(chapters, "html"), chapters, say)
    return "\n\n".join(parts) + "\n"


def addresses(chapters: Sequence[Chapter], kind: str, folder: str = "") -> dict[int, str]:
    """By number the address of each chapter's page: in Markdown its own file (`md`), or what that becomes (`html`)."""
    return {chapter.number: f"{folder}{chapter.name}.{kind}" for chapter in chapters if chapter.number}


def stop_links(chapters: Sequence[Chapter], kind: str = "html") -> dict[str, str]:
    """By target, the address of the first stop that explains it, from any chapter's page; for Markdown's links `md`."""
    links: dict[str, str] = {}
    for chapter in explaining_first(chapters):
        for stop in chapter.stops:
            links.setdefault(stop.anchor.target, f"{chapter.name}.{kind}#{stop.name}")
    return links


def filled(text: str, quotes: Mapping[str, Quote]) -> str:
    """The text with its `{{key}}` as values, each with its meaning as a tooltip."""

    def value(match: re.Match[str]) -> str:
        words = fill(match[0], quotes)  # which names a key that is not there
        return f'<span class="quoted" title="{escape(quotes[match[1]].meaning)}">{escape(words)}</span>'

    return KEY.sub(value, text)


def linked(text: str, chapters: Sequence[Chapter]) -> str:
    """The text with every `chapter 5`, or `第 5 章`, as a link to it."""
    pages = addresses(chapters, "md")

    def link(match: re.Match[str]) -> str:
        page = pages.get(int(match[1] or match[2]))
        return f"[{match[0]}]({page})" if page else match[0]

    return REFERENCE.sub(link, text)


def unsound(chapters: Sequence[Chapter], tree: SourceTree) -> list[str]:
    """The names of the stops that this tree does not bear out."""
    stops = (stop for chapter in chapters for stop in chapter.stops)
    return [stop.name for stop in stops if judge(stop, tree).standing in TO_FIX]


def _stop(
    stop: Stop,
    text: str,
    tree: SourceTree,
    figures: Figures,
    links: Mapping[str, str],
    first: str,
    say: Labels,
) -> str:
    """A stop with its source, which is whole at the `first` stop of its page that is in the same function."""
    judgement = judge(stop, tree)
    verdict = judgement.anchor
    side = "".join(
        (
            *_warning(judgement, tree, say),
            *_facts(stop, verdict, tree, links, say),
            f'<p class="here">{"".join(at_stop(stop, say, not figures.times))}</p>',
            _time(stop, figures, say),
        )
    )
    return "\n\n".join(
        (
            f"### {stop.name.replace('-', ' ').capitalize()} {{ #{stop.name} .stop-name }}",
            '<div class="stop" markdown>',
            f'<div class="stop-text" markdown>\n\n{side}\n\n{text}\n\n{_claims(judgement, say)}\n\n</div>',
            source(verdict, say, "" if first == stop.name else first),
            "</div>",
        )
    )


def _warning(judgement: Judgement, tree: SourceTree, say: Labels) -> Iterator[str]:
    if judgement.standing in TO_FIX:
        reasons = "; ".join(filter(None, (judgement.anchor.reason, *judgement.untrue)))
        words = say(UNSOUND, version=tree.version, standing=say(judgement.standing), reasons=reasons)
        yield f'<p class="unsound">{_literally(words)}</p>'


def _claims(judgement: Judgement, say: Labels) -> str:
    """What the text claims of the code, folded."""
    claims = "".join(f"<li><code>{_literally(str(claim))}</code></li>" for claim in judgement.stop.claims)
    summary = say("What the text claims of this line")
    return f'<details class="claims"><summary>{summary}</summary><ul>{claims}</ul></details>' if claims else ""


def _literally(text: str) -> str:
    """Text in HTML, in which Markdown finds no emphasis."""
    return escape(text).replace("*", "&#42;")


def _facts(stop: Stop, verdict: Verdict, tree: SourceTree, links: Mapping[str, str], say: Labels) -> Iterator[str]:
    """What and where it is, who runs it, and what it claims to reach, with links to its stop and to the release."""
    role = say(stop.role)
    role = say("{role}, thread {thread}", role=role, thread=stop.thread) if stop.thread else role
    heading = [f"<code>{escape(verdict.target.rpartition(':')[2])}</code>"]
    heading += [f'<span class="role">{escape(role)}</span>'] if stop.role else []
    lines = [" ".join(heading), _where(verdict, tree)]
    for words, target in ((say("calls"), stop.calls), (say("sends to"), stop.sends_to)):
        name = f"<code>{escape(target.rpartition(':')[2])}</code>"
        name = f'<a href="{escape(links[target])}">{name}</a>' if target in links else name
        lines += [f"{words} {name}"] if target else []
    yield f'<p class="facts">{"<br>".join(filter(None, lines))}</p>'


def _where(verdict: Verdict, tree: SourceTree) -> str:
    """File and line, as a link into the release where the tree is one."""
    words = escape(verdict.where).replace("/", "/<wbr>")
    file, _, line = verdict.where.rpartition(":")
    address = release_link(file, line, tree) if file else ""
    return f'<a href="{escape(address)}">{words}</a>' if address else words


def release_link(file: str, line: str, tree: SourceTree) -> str:
    """The address of a line in the release that the tree is of, or nothing."""
    return TAGGED.format(version=tree.version, file=file, line=line) if RELEASE.fullmatch(tree.version) else ""


def _time(stop: Stop, figures: Figures, say: Labels) -> str:
    """What was measured at the stop's site."""
    time = figures.times.get(stop.site)
    if time is None:
        return ""
    words = say(MEDIAN, site=escape(stop.site), median=us(time.median_ns), calls=f"{time.calls:,}")
    if time.share is not None:
        words = say("{median}, {share} of a request's time", median=words, share=percent(time.share))
    return f'<p class="time">{words}<br><small>{escape(figures.about)}</small></p>'
