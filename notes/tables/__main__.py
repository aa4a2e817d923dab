"""Tables and charts of real runs in `notes/tables/`: a page, a chart and the figures of both for each folder given."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from notes.tables.story import FOLDER, Story, encode, read
from probes.arguments import CommandParser
from probes.errors import EnginescopeError, run_main, usage_error

EXAMPLES = """examples:
  python -m notes.tables results/SmolLM2-135M-Instruct/default/<run> traces/<folder>
  python -m notes.tables results/*/*/* --out my-tables

A run folder is what `python -m offline.sweep` leaves, a trace folder what `python -m tracing.record` does.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m notes.tables",
        description="Writes a table and a chart of each run or trace, with the command, machine and version behind it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="run folders and trace folders")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR", help="(default: notes/tables)")
    return parser


def main() -> int:
    """The command."""
    args = parser().parse_args()
    from notes.tables.folders import story

    stories: dict[str, Story] = {}
    for folder in args.folders:
        table = story(folder)
        if table.origin.name in stories:
            raise usage_error(f"{folder} would replace another page {table.origin.name}: sweep with another --variant")
        stories[table.origin.name] = table
    try:
        for path in write(stories, args.out):
            print(f"Wrote {path}")
    except OSError as error:
        raise EnginescopeError(f"cannot write {error.filename}: {error.strerror}") from None
    return 0


def write(stories: Mapping[str, Story], out: Path) -> list[Path]:
    """Write each story as JSON, Markdown and SVG, then the list of all that `out` holds; the paths."""
    from notes.tables import pages

    out.mkdir(parents=True, exist_ok=True)
    files: dict[str, str] = {}
    for name, table in stories.items():
        files |= {f"{name}.json": encode(table), f"{name}.md": pages.page(table), f"{name}.svg": pages.chart(table)}
    for name, text in files.items():
        (out / name).write_text(text, encoding="utf-8")
    (out / "README.md").write_text(pages.overview(read(out)), encoding="utf-8")
    return [out / name for name in (*files, "README.md")]


if __name__ == "__main__":
    run_main(main)
