"""Holds the walkthrough against vLLM's source, and its claimed edges against recorded traces."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import FAILED, INCOMPLETE, run_main

if TYPE_CHECKING:
    from notes.walkthrough.anchors import Verdict
    from notes.walkthrough.chapters import Stop
    from notes.walkthrough.edges import Edge, Evidence
    from tracing.source.tree import SourceTree

EXAMPLES = """examples:
  python -m notes.check                                     against the installed vLLM
  python -m notes.check --vllm new/ --base old/             in another tree, with the diff of what changed
  python -m notes.check --trace traces/A --trace traces/B   the claimed edges too, in what those traces passed

verdicts: holds, moved (same code in another class or module), changed, gone
edges: seen, contradicted, not passed (no such call in the traces), not measured (an end has no tracing site)
exit codes: 0 all is well, 1 a stop is changed or gone or an edge is contradicted, 2 bad usage, 3 with --trace: an edge
was not passed
"""
PLURAL = {"holds": "hold"}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m notes.check",
        description="Whether the walkthrough is still true of vLLM's source. Imports nothing of vLLM.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--vllm", type=Path, metavar="PATH", help="an unpacked tree (default: the installed one)")
    parser.add_argument("--base", type=Path, metavar="PATH", help="an older tree that the notes were written for")
    parser.add_argument(
        "--trace", type=Path, metavar="DIR", action="append", default=[], help="a trace folder; repeatable"
    )
    parser.add_argument("--notes", type=Path, metavar="DIR", help="the chapters (default: those of this project)")
    return parser


def main() -> int:
    """The command."""
    from notes.walkthrough import chapters
    from tracing.source.tree import SourceTree

    args = parser().parse_args()
    stops = tuple(chapters.stops(chapters.read(args.notes or chapters.FOLDER)))
    tree = SourceTree.find(args.vllm)
    in_source = check_source(stops, tree, SourceTree.find(args.base) if args.base else None)
    in_traces = check_traces(stops, args.trace) if args.trace else 0
    return in_source or in_traces


def check_source(stops: Sequence[Stop], tree: SourceTree, base: SourceTree | None) -> int:
    """Print what does not simply hold, then a summary; 1 where a stop or an edge has to be fixed."""
    from notes.walkthrough import anchors, edges

    verdicts = [anchors.judge(stop.anchor, tree, base) for stop in stops]
    failed = 0
    for stop, verdict in zip(stops, verdicts, strict=True):
        problems = [problem for edge in edges.edges(stop) if (problem := edges.in_source(edge, tree))]
        if verdict.standing != "holds":
            print(*about(stop, verdict, base), sep="\n")
        for problem in problems:
            print(f"{stop.where}  {stop.name}\n  {stop.anchor.target} {problem}")
        failed += verdict.standing not in anchors.FINE or bool(problems)
    counts = {name: sum(v.standing == name for v in verdicts) for name in ("holds", "moved", "changed", "gone")}
    claimed = sum(len(edges.edges(stop)) for stop in stops)
    summary = ", ".join(f"{count} {PLURAL.get(name, name)}" for name, count in counts.items() if count)
    print(f"{len(stops)} stops, {claimed} edges against vLLM {tree.version}: {summary}, {failed or 'nothing'} to fix")
    return FAILED if failed else 0


def about(stop: Stop, verdict: Verdict, base: SourceTree | None) -> Iterator[str]:
    """A stop that does not simply hold, in lines: what is there now, or what comes nearest."""
    yield f"{verdict.standing}  {stop.where}  {stop.name}"
    if verdict.standing == "moved":
        yield f"  {stop.anchor.target}\n  is now {verdict.target} ({verdict.where})"
        return
    place = f" ({verdict.where})" if verdict.where else ""
    yield f"  {stop.anchor.target}{place}: {verdict.reason}"
    yield f"  expected {stop.anchor.fragment.text}"
    if verdict.nearest:
        yield f"  {'present ' if verdict.place else 'nearest '} " + "\n           ".join(verdict.nearest)
    if base is not None:
        yield from (f"    {line}" for line in _diff(stop, verdict, base))


def _diff(stop: Stop, verdict: Verdict, base: SourceTree) -> Iterator[str]:
    from tracing.source.definitions import Place

    before = base.resolve(stop.anchor.target)
    if isinstance(before, Place) and verdict.place is not None:
        names = (f"{before.where} in vLLM {base.version}", f"{verdict.place.where} now")
        yield from difflib.unified_diff(before.lines(), verdict.place.lines(), *names, n=2, lineterm="")


# --- traces ---


def check_traces(stops: Sequence[Stop], folders: Sequence[Path]) -> int:
    """Print the edges that the traces do not bear out; 1 where they contradict one, 3 where one was not passed."""
    from notes.walkthrough import edges
    from notes.walkthrough.tracededges import Trace

    claims = [edges.Evidence(edge) for stop in stops for edge in edges.edges(stop)]
    for folder in folders:
        trace = Trace(folder)
        for evidence in claims:
            trace.hold(evidence.edge, evidence)
    for line in (line for evidence in claims for line in _lines(evidence)):
        print(line)
    kinds: list[str] = [evidence.standing for evidence in claims]
    names = ("seen", "contradicted", "not passed", "not measured")
    summary = ", ".join(f"{kinds.count(name)} {name}" for name in names if kinds.count(name))
    print(f"{len(claims)} edges in {', '.join(folder.name for folder in folders)}: {summary}")
    return FAILED if "contradicted" in kinds else INCOMPLETE if "not passed" in kinds else 0


def _lines(evidence: Evidence) -> Iterator[str]:
    edge: Edge = evidence.edge
    if evidence.standing in ("seen", "not measured"):
        return
    yield f"{evidence.standing}  {edge.stop.where}  {edge.stop.name}\n  {edge}"
    if evidence.standing == "contradicted":
        yield from (f"  {words}" for words in (*evidence.against, *evidence.apart)[:3])
    if evidence.standing == "not passed" and edge.ends:
        never = [end.name for end in edge.ends if end.name not in evidence.sites]
        yield f"  never passed here: {', '.join(never)}"


if __name__ == "__main__":
    run_main(main)
