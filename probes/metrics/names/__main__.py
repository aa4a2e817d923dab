"""Prints every metric that vLLM has had, and the versions that have it; reads source trees into the project's table.

A tree is the package `vllm` or the folder that holds it, installed or unpacked; nothing of it is imported.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import FAILED, run_main, usage_error

if TYPE_CHECKING:
    from probes.metrics.names.declarations import Declaration
    from probes.metrics.names.table import MetricsTable

COLUMNS = ["metric", "kind", "unit", "over engines", "labels", "versions"]
EXAMPLES = """examples:
  python -m probes.metrics.names                              the table
  python -m probes.metrics.names --version 0.33.0             of one version
  python -m probes.metrics.names .venv/lib/python3.11/site-packages/vllm     is it what the table says of its version?
  python -m probes.metrics.names --write vllm-0.34.0 vllm-0.35.0             take unpacked sources into the table

exit codes: 0 done, 1 a tree is not what the table says of its version, or it is not in the table, 2 bad usage
"""


def parser() -> argparse.ArgumentParser:
    arguments = CommandParser(
        prog="python -m probes.metrics.names",
        description="Every metric of vLLM's servers: kind, labels, unit, and the versions for which they hold.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_argument("trees", type=Path, nargs="*", metavar="TREE", help="source trees of vLLM to read")
    arguments.add_argument("--version", metavar="V", help="print the metrics of one version only")
    arguments.add_argument("--write", action="store_true", help="take the trees into the table")
    return arguments


def main() -> int:
    """The command."""
    args = parser().parse_args()
    from probes.metrics.names.declarations import read
    from probes.metrics.names.table import PATH, load, made_of, save

    table = load() if PATH.exists() else made_of({})
    trees = [read(tree) for tree in args.trees]
    for tree in trees:
        for place in tree.unread:
            print(f"{tree.version}: {place} makes a metric whose name is not written out")
    if args.write and not trees:
        raise usage_error("--write needs the trees to take in: python -m probes.metrics.names --write vllm-0.34.0")
    if args.write:
        table = table.with_trees(trees)
        save(table)
        print(f"Wrote {PATH}: {len(table.metrics)} rows of {len(table.versions)} versions")
        return 0
    if not trees:
        show(table, args.version)
        return 0
    differing = [line for tree in trees for line in differences(table, tree.version, tree.declarations)]
    print("\n".join(differing or [f"{tree.version}: as in the table" for tree in trees]))
    return FAILED if differing else 0


def differences(table: MetricsTable, version: str, declarations: list[Declaration]) -> list[str]:
    """What a version declares otherwise than the table says, a line each."""
    in_table, in_tree = set(table.of(version)), set(declarations)
    lines = [(each.name, f"{version}: {each.name} is in the table only: {each}") for each in in_table - in_tree]
    lines += [(each.name, f"{version}: {each.name} is in the tree only: {each}") for each in in_tree - in_table]
    return [line for _, line in sorted(lines)]


def show(table: MetricsTable, version: str | None) -> None:
    """Print the metrics, or those of one version."""
    from probes import console
    from probes.metrics.names.gauges import HOW

    kept = set(table.of(version)) if version else None
    rows = []
    for metric in table.metrics:
        each = metric.declaration
        if kept is None or each in kept:
            spans = table.spans(metric)
            versions = ", ".join(first if first == last else f"{first} to {last}" for first, last in spans)
            how = HOW.get(each.name, "n/a") if each.kind == "gauge" else "sum"
            labels = "not written out" if each.labels is None else ", ".join(each.labels)
            rows.append([each.name, each.kind, each.unit, how, labels, versions])
    console.table(console.console(), f"{len(rows)} metrics", COLUMNS, rows, (1, 2, 3, 4, 5))


if __name__ == "__main__":
    run_main(main)
