"""Writes what an upgrade of vLLM means for the walkthrough: every stop that it touches, both sources side by side."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import run_main

if TYPE_CHECKING:
    from notes.walkthrough.chapters import Stop
    from notes.walkthrough.claims.judgement import Judgement
    from tracing.source.definitions import Place
    from tracing.source.tree import SourceTree

EXAMPLES = """examples:
  python -m notes.port old/ new/                      unpacked wheels or checkouts
  python -m notes.port old/ new/ > upgrade.md
"""


@dataclass(frozen=True)
class Touched:
    """A stop that differs between two trees: what the newer says of it, and its function in the older."""

    judgement: Judgement
    before: Place | None


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m notes.port",
        description="A Markdown list of the walkthrough's stops that a vLLM upgrade touches, with both sources.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("old", type=Path, metavar="OLD", help="the tree that the notes were written for")
    parser.add_argument("new", type=Path, metavar="NEW", help="the newer tree")
    parser.add_argument("--notes", type=Path, metavar="DIR", help="the chapters (default: those of this project)")
    return parser


def main() -> int:
    """The command."""
    from notes.walkthrough import chapters
    from tracing.source.tree import SourceTree

    args = parser().parse_args()
    old, new = SourceTree.find(args.old), SourceTree.find(args.new)
    stops = tuple(chapters.stops(chapters.read(args.notes or chapters.FOLDER)))
    print(*document(touched(stops, old, new), len(stops), old, new), sep="\n")
    return 0


def touched(stops: Sequence[Stop], old: SourceTree, new: SourceTree) -> list[Touched]:
    """The stops that do not simply hold in the newer tree, read in the older one; those to mend first."""
    from notes.walkthrough.claims import digests, judgement
    from tracing.source.definitions import Place

    reading = digests.take(stops, old)
    differing = []
    for each in (judgement.judge(stop, new, reading, old) for stop in stops):
        if each.standing != "holds":
            earlier = old.resolve(each.stop.anchor.target)
            differing.append(Touched(each, earlier if isinstance(earlier, Place) else None))
    return sorted(differing, key=lambda each: judgement.ORDER.index(each.judgement.standing))


def document(changes: Sequence[Touched], stops: int, old: SourceTree, new: SourceTree) -> Iterator[str]:
    """The list, line by line."""
    from notes.walkthrough.claims.judgement import ORDER

    yield f"# The walkthrough from vLLM {old.version} to {new.version}\n"
    kinds = [each.judgement.standing for each in changes]
    summary = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ORDER if kind in kinds) or "none"
    yield f"{len(changes)} of {stops} stops are touched: {summary}."
    yield "The claims of one to re-read are all true still, of a function that says something else.\n"
    first_stops: dict[str, str] = {}
    for each in changes:
        stop = each.judgement.stop
        yield from _entry(each, first_stops.setdefault(stop.anchor.target, stop.name))


def _entry(each: Touched, first_stop: str) -> Iterator[str]:
    """One stop; the source of a function stands under the first of its stops."""
    from tracing.source.likeness import beside

    stop, verdict = each.judgement.stop, each.judgement.anchor
    yield f"## {each.judgement.standing}: {stop.name} ({stop.where})\n"
    yield f"- anchor: `{stop.anchor.target}`" + (f", now `{verdict.target}`" if verdict.standing == "moved" else "")
    yield f"- fragment: `{stop.anchor.fragment.text}`"
    if verdict.reason:
        yield f"- {verdict.reason}"
    if verdict.nearest:
        yield "- nearest: " + ", ".join(f"`{near}`" for near in verdict.nearest)
    yield from (f"- not true: {words}" for words in each.judgement.untrue)
    yield from (f"- read again: `{target}`" for target in each.judgement.reread)
    if first_stop != stop.name:
        yield f"- both sources: under {first_stop}"
    yield ""
    if each.before is not None and first_stop == stop.name:
        yield "```text"
        yield from beside(each.before, verdict.place)
        yield "```"
        yield ""


if __name__ == "__main__":
    run_main(main)
