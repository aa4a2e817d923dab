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
    from notes.walkthrough.anchors import Verdict
    from notes.walkthrough.chapters import Stop
    from tracing.source.definitions import Place
    from tracing.source.tree import SourceTree

EXAMPLES = """examples:
  python -m notes.port old/ new/                      unpacked wheels or checkouts
  python -m notes.port old/ new/ > upgrade.md
"""
ORDER = ("gone", "changed", "moved", "holds")


@dataclass(frozen=True)
class Touched:
    """A stop that differs between two trees: the verdict on the newer, and the function in both."""

    stop: Stop
    verdict: Verdict
    before: Place | None
    problems: tuple[str, ...]  # of its edges


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
    """The stops whose function is not the same code in both trees, those to mend first."""
    from notes.walkthrough import anchors, edges
    from tracing.source.definitions import Place
    from tracing.source.likeness import same_code

    differing = []
    for stop in stops:
        verdict = anchors.judge(stop.anchor, new, old)
        earlier = old.resolve(stop.anchor.target)
        before = earlier if isinstance(earlier, Place) else None
        problems = tuple(filter(None, (edges.in_source(edge, new) for edge in edges.edges(stop))))
        alike = before is not None and verdict.place is not None and same_code(before, verdict.place)
        if verdict.standing != "holds" or problems or not alike:
            differing.append(Touched(stop, verdict, before, problems))
    return sorted(differing, key=lambda each: ORDER.index(each.verdict.standing))


def document(changes: Sequence[Touched], stops: int, old: SourceTree, new: SourceTree) -> Iterator[str]:
    """The list, line by line."""
    yield f"# The walkthrough from vLLM {old.version} to {new.version}\n"
    counts = {kind: sum(each.verdict.standing == kind for each in changes) for kind in ORDER}
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "none"
    yield f"{len(changes)} of {stops} stops are touched: {summary}."
    yield "One that holds still has its line, in a function that changed.\n"
    first_stops: dict[str, str] = {}
    for each in changes:
        yield from _entry(each, first_stops.setdefault(each.stop.anchor.target, each.stop.name))


def _entry(each: Touched, first_stop: str) -> Iterator[str]:
    """One stop; the source of a function stands under the first of its stops, `shown_at`."""
    from tracing.source.likeness import beside

    stop, verdict = each.stop, each.verdict
    yield f"## {verdict.standing}: {stop.name} ({stop.where})\n"
    yield f"- anchor: `{stop.anchor.target}`" + (f", now `{verdict.target}`" if verdict.standing == "moved" else "")
    yield f"- fragment: `{stop.anchor.fragment.text}`"
    if verdict.reason:
        yield f"- {verdict.reason}"
    if verdict.nearest:
        yield "- nearest: " + ", ".join(f"`{near}`" for near in verdict.nearest)
    yield from (f"- edge: {problem}" for problem in each.problems)
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
