"""Holds the walkthrough against vLLM's source, and its claimed edges against recorded traces."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import FAILED, INCOMPLETE, run_main

if TYPE_CHECKING:
    from notes.walkthrough.chapters import Stop
    from notes.walkthrough.claims.digests import Digests
    from notes.walkthrough.claims.judgement import Judgement
    from notes.walkthrough.edges import Edge, Evidence
    from tracing.source.tree import SourceTree

EXAMPLES = """examples:
  python -m notes.check                                     against the installed vLLM
  python -m notes.check --vllm new/ --base old/             in another tree, with the diff of what to read again
  python -m notes.check --vllm new/ --reread                all of it has been read again: keep the digests of new/
  python -m notes.check --trace traces/A --trace traces/B   the claimed edges too, in what those traces passed
  python -m notes.check --trace notes/traces                all edges, in the traces of shapes that are kept there

verdicts: holds; moved (the same in another class or module); re-read (a function that the stop names says something
else than when the stop was written, and its claims are still true); false (a claim is not true any more); gone (the
line or its function is not there)
edges: seen, contradicted, not passed (no such call in the traces), not measured (an end has no tracing site)
exit codes: 0 all is well or to be read again, 1 a stop is false or gone or an edge is contradicted, 2 bad usage, 3 with
--trace: an edge was not passed
"""
PLURAL = {"holds": "hold", "re-read": "to re-read"}


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
        "--reread", action="store_true", help="keep the digests of this tree: its functions have been read"
    )
    parser.add_argument(
        "--trace", type=Path, metavar="DIR", action="append", default=[], help="a trace folder; repeatable"
    )
    parser.add_argument("--notes", type=Path, metavar="DIR", help="the chapters (default: those of this project)")
    return parser


def main() -> int:
    """The command."""
    from notes.walkthrough import chapters
    from notes.walkthrough.claims import digests
    from tracing.source.tree import SourceTree

    args = parser().parse_args()
    folder = args.notes or chapters.FOLDER
    stops = tuple(chapters.stops(chapters.read(folder)))
    tree = SourceTree.find(args.vllm)
    base = SourceTree.find(args.base) if args.base else None
    reading = digests.take(stops, base) if base else digests.read(folder, tree.version)
    in_source = max(check_source(stops, tree, reading, base), check_table(tree, folder))
    if args.reread and not in_source:
        print(f"Wrote {digests.write(folder, digests.take(stops, tree))}")
    in_traces = check_folders(stops, folder, args.trace) if args.trace else 0
    return in_source or in_traces


def check_source(stops: Sequence[Stop], tree: SourceTree, reading: Digests | None, base: SourceTree | None) -> int:
    """Print what does not simply hold, then a summary; 1 where a stop is false or gone."""
    from notes.walkthrough.claims import judgement
    from notes.walkthrough.claims.account import account
    from notes.walkthrough.edges import edges

    judgements = [judgement.judge(stop, tree, reading, base) for stop in stops]
    print(*account(judgements, tree, reading, base), sep="\n", end="")
    failed = sum(each.standing in judgement.TO_FIX for each in judgements)
    print(f"{len(stops)} stops, {sum(len(stop.claims) for stop in stops)} claims, ", end="")
    print(f"{sum(len(edges(stop)) for stop in stops)} edges against vLLM {tree.version}: {_counts(judgements)}", end="")
    print(f", {failed or 'nothing'} to fix")
    return FAILED if failed else 0


def check_table(tree: SourceTree, folder: Path) -> int:
    """Print which edges of the table beside the chapters the source does not bear out, and their number; 1 where there
    is one."""
    from notes.walkthrough import edgetable

    table = edgetable.read(folder)
    false = [(row.edge, why) for row in table if (why := edgetable.unfounded(row, tree))]
    for edge, why in false:
        print(f"false  {edge.caller.where}\n  {edge}: {why}")
    if table:
        print(f"{len(table)} more edges in {edgetable.NAME}, {len(false) or 'nothing'} to fix")
    return FAILED if false else 0


def _counts(judgements: Sequence[Judgement]) -> str:
    from notes.walkthrough.claims.judgement import ORDER

    kinds = [each.standing for each in judgements]
    return ", ".join(f"{kinds.count(kind)} {PLURAL.get(kind, kind)}" for kind in reversed(ORDER) if kind in kinds)


# --- traces ---


def check_folders(stops: Sequence[Stop], folder: Path, folders: Sequence[Path]) -> int:
    """Hold the edges against trace folders, and against folders with the traces of shapes."""
    from notes.traces import shapetrace

    of_shapes = [each for each in folders if shapetrace.shapes(each)]
    recordings = [each for each in folders if each not in of_shapes]
    in_recordings = check_traces(stops, recordings) if recordings else 0
    return max((check_shapes(stops, folder, each) for each in of_shapes), default=0) or in_recordings


def check_traces(stops: Sequence[Stop], folders: Sequence[Path]) -> int:
    """Print the edges that the traces do not bear out; 1 where they contradict one, 3 where one was not passed."""
    from notes.walkthrough import edges
    from notes.walkthrough.tracededges import Trace
    from tracing import timeline

    claims = [edges.Evidence(edge) for stop in stops for edge in edges.edges(stop)]
    for folder in folders:
        trace = Trace(timeline.read(folder), folder.name)
        for evidence in claims:
            trace.hold(evidence.edge, evidence)
    for line in (line for evidence in claims for line in _lines(evidence)):
        print(line)
    kinds: list[str] = [evidence.standing for evidence in claims]
    names = ("seen", "contradicted", "not passed", "not measured")
    summary = ", ".join(f"{kinds.count(name)} {name}" for name in names if kinds.count(name))
    print(f"{len(claims)} edges in {', '.join(folder.name for folder in folders)}: {summary}")
    return FAILED if "contradicted" in kinds else INCOMPLETE if "not passed" in kinds else 0


def check_shapes(stops: Sequence[Stop], folder: Path, traces: Path) -> int:
    """Print the edges that the traces of shapes contradict, and how many they have seen, those of the table too; 1
    where they contradict one."""
    from notes.traces.evidence import evidence, sightings
    from notes.walkthrough import edgetable
    from notes.walkthrough.edges import KINDS

    proofs = evidence(edgetable.claims(stops, folder), traces)
    contradicted = [proof for proof in proofs if proof.standing == "contradicted"]
    for line in (line for proof in contradicted for line in _lines(proof)):
        print(line)
    edges_seen = sightings(proofs)
    kinds = [each.edge.kind for each in edges_seen]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in KINDS)
    shapes = len({shape for each in edges_seen for shape in each.shapes})
    print(f"{len(kinds)} edges seen in the traces of {shapes} shapes ({counts}), ", end="")
    print(f"{len(contradicted) or 'none'} contradicted")
    return FAILED if contradicted else 0


def _lines(evidence: Evidence) -> Iterator[str]:
    edge: Edge = evidence.edge
    if evidence.standing in ("seen", "not measured"):
        return
    yield f"{evidence.standing}  {edge.caller.where}\n  {edge}"
    if evidence.standing == "contradicted":
        yield from (f"  {words}" for words in (*evidence.against, *evidence.apart)[:3])
    if evidence.standing == "not passed" and edge.ends:
        never = [end.name for end in edge.ends if end.name not in evidence.sites]
        yield f"  never passed here: {', '.join(never)}"


if __name__ == "__main__":
    run_main(main)
