"""What `notes.check` says of changes to vLLM's functions: how many it notices, and how many it calls false wrongly.

The changes are made by the grammar of Python, by chance and without a look at the claims, in functions under `vllm.v1`
that have a stop. `re-read` is the share that is noticed at all. `named` are pairs of a change and a stop in whose
sentences' code it is (the stop's line, the nearest test around it, what the text calls by its name); `caught` is the
share of these that is false or gone. Below are changes that leave the sentences true: none may be false or gone.

Example: python tests/bench/claims.py --each 40 --seed 1
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from notes.walkthrough import chapters
from notes.walkthrough.chapters import Stop
from notes.walkthrough.claims import digests
from notes.walkthrough.claims.judgement import TO_FIX
from tests.notes.walkthrough.claims.mutants import neutral, semantic
from tests.notes.walkthrough.claims.mutants.mutant import Mutant, judgements, mutants, touches
from tracing.source.tree import SourceTree

UNDER = "vllm.v1"


def targets(stops: Sequence[Stop]) -> list[str]:
    """The functions that are changed: those under `vllm.v1` that have a stop."""
    return sorted({stop.anchor.target for stop in stops if stop.anchor.target.startswith(UNDER)})


def semantics(tree: SourceTree, stops: Sequence[Stop], each: int, seed: int, show: bool) -> None:
    reading = digests.take(stops, tree)
    rows: dict[str, Counter[str]] = {}
    for changed in mutants(tree, targets(stops), semantic.CHANGES, each, seed):
        row = rows.setdefault(changed.kind, Counter())
        verdicts = list(judgements(changed, stops, tree, reading))
        row["changes"] += 1
        row["re-read"] += all(judgement.standing != "holds" for _, judgement in verdicts)
        for stop, judgement in verdicts:
            named, caught = touches(changed, stop, tree), judgement.standing in TO_FIX
            row["named"] += named
            row["caught"] += named and caught
            row["false elsewhere"] += caught and not named
            if show and named != caught:
                words = judgement.untrue or ("gone",) if caught else ("not caught",)
                print(f"--- {words}, {changed.kind}, {stop.name}, {changed.target}\n{_difference(changed, tree)}")
    rows["all"] = sum(rows.values(), Counter())
    print(
        "| change | changes | noticed | named | caught | false elsewhere |\n| --- | ---: | ---: | ---: | ---: | ---: |"
    )
    for kind, row in rows.items():
        cells = (kind, row["changes"], _share(row["re-read"], row["changes"]), row["named"])
        print(f"| {' | '.join(map(str, cells))} | {_share(row['caught'], row['named'])} | {row['false elsewhere']} |")


def neutrals(tree: SourceTree, stops: Sequence[Stop], each: int, seed: int, show: bool) -> None:
    reading = digests.take(stops, tree)
    rows: dict[str, Counter[str]] = {}
    for changed in mutants(tree, targets(stops), neutral.CHANGES, each, seed):
        row = rows.setdefault(changed.kind, Counter())
        for stop, judgement in judgements(changed, stops, tree, reading):
            row[judgement.standing] += 1
            if show and judgement.standing in TO_FIX:
                print(f"--- {changed.kind}, {stop.name}, {judgement.untrue or 'gone'}\n{_difference(changed, tree)}")
    rows["all"] = sum(rows.values(), Counter())
    names = ("holds", "re-read", "false", "gone")
    print(f"\n| sentences stay true | {' | '.join(names)} |\n| --- | ---: | ---: | ---: | ---: |")
    for kind, row in rows.items():
        print(f"| {kind} | {' | '.join(str(row[name]) for name in names)} |")


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _difference(changed: Mutant, tree: SourceTree) -> str:
    import ast
    import difflib

    from tracing.source.likeness import statements

    before = ast.unparse(statements(tree.find_place(changed.target))[0])  # type: ignore[arg-type]
    lines = difflib.unified_diff(before.split("\n"), changed.text.split("\n"), n=1, lineterm="")
    return "\n".join(list(lines)[2:14])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=40, help="changes of every kind (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which ones (default %(default)s)")
    parser.add_argument("--show", action="store_true", help="the changes that are not judged as they should be")
    args = parser.parse_args()
    tree, stops = SourceTree.find(), tuple(chapters.stops(chapters.read()))
    semantics(tree, stops, args.each, args.seed, args.show)
    neutrals(tree, stops, args.each, args.seed, args.show)
    return 0


if __name__ == "__main__":
    sys.exit(main())
