"""Prints where the time of a trace went, and writes it to `review.json` and `review.html` in the trace folder."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from probes.errors import EnginescopeError, run_main

if TYPE_CHECKING:
    from tracing.breakdown.findings import Findings

EXAMPLES = """examples:
  python -m tracing.review traces/20261121-101500-ab12cd
  python -m tracing.review traces/<folder> --perfetto trace.pftrace     open it in Perfetto's UI
  python -m tracing.review traces/<folder> --csv spans.csv
"""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m tracing.review",
        description="Where the time of every request and step went, from a trace folder.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("folder", type=Path, metavar="DIR", help="a trace folder")
    made.add_argument("--perfetto", type=Path, metavar="FILE", help="write a Perfetto trace as well")
    made.add_argument("--csv", type=Path, metavar="FILE", help="write all spans as CSV as well")
    return made


def main() -> int:
    """The command."""
    args = parser().parse_args()
    return review(args.folder, args.perfetto, args.csv)


def review(folder: Path, perfetto: Path | None = None, csv: Path | None = None) -> int:
    """Review a trace folder; 0, or an `EnginescopeError` where it cannot be read or written."""
    from tracing.breakdown.findings import findings
    from tracing.page.sections import sections, show
    from tracing.page.terminal import console

    out = console()
    found = findings(folder)
    show(found, out)
    try:
        written = write(found, sections(found), perfetto, csv)
    except OSError as error:
        raise EnginescopeError(f"cannot write {error.filename}: {error.strerror}") from None
    for path in written:
        out.print(f"Wrote {path}", soft_wrap=True, markup=False)
    return 0


def write(found: Findings, sections: list[tuple[str, str, str]], perfetto: Path | None, csv: Path | None) -> list[Path]:
    """Write `review.json`, `review.html` and what else was asked; their paths."""
    from tracing.page import html as page
    from tracing.page import perfetto as perfetto_file

    folder = found.timeline.folder
    data, html = folder / "review.json", folder / "review.html"
    data.write_text(json.dumps(found.review, indent=1))
    html.write_text(page.page(f"Trace {folder.resolve().name}", found.review, sections))
    if perfetto:
        perfetto_file.export(found.timeline, found.flows, found.hops, perfetto)
    if csv:
        found.timeline.spans.to_csv(csv, index=False)
    return [data, html, *filter(None, (perfetto, csv))]


if __name__ == "__main__":
    run_main(main)
