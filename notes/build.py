"""Renders the walkthrough as a site that works from disk: source and text side by side, drawings out of a trace.

It has two editions, English and Chinese, each page with a link to the same one in the other language.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from probes.arguments import CommandParser
from probes.errors import INCOMPLETE, run_main

EXAMPLES = """examples:
  python -m notes.build --open                                without a trace: text and source
  python -m notes.build --trace traces/<folder> --open        with measured times and drawings
  python -m notes.build --vllm new/ --out site-new            with another vLLM's source

exit codes: 0 built, 3 built, but the source of a stop has changed or is gone (python -m notes.check), 1 not built,
2 bad usage
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m notes.build",
        description="The walkthrough of vLLM as an offline site, in English and Chinese, the source beside the text.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--trace", type=Path, metavar="DIR", help="a trace folder, for the measured times and the drawings"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("site"), metavar="DIR", help="the site's folder (default: site)"
    )
    parser.add_argument("--vllm", type=Path, metavar="PATH", help="vLLM's source (default: the installed one)")
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    return parser


def main() -> int:
    """The command."""
    args = parser().parse_args()
    from notes.site import chapterpage, sources
    from notes.translation.editions import ENGLISH, LANGUAGES
    from notes.walkthrough import chapters
    from tracing.breakdown.findings import findings
    from tracing.source.tree import SourceTree

    tree = SourceTree.find(args.vllm)
    editions = {language: chapters.read(language=language) for language in LANGUAGES}
    walkthrough = editions[ENGLISH]
    pages = sources.build(editions, tree, findings(args.trace) if args.trace else None, args.out)
    stops = sum(len(chapter.stops) for chapter in walkthrough)
    start = args.out / "index.html"
    print(f"Wrote {start}: {pages} pages, {stops} stops in vLLM {tree.version}")
    if args.open:
        import webbrowser

        webbrowser.open(start.resolve().as_uri())
    unsound = chapterpage.unsound(walkthrough, tree)
    if unsound:
        print(
            f"{len(unsound)} stops no longer hold, as their pages say: {', '.join(unsound)}. "
            "python -m notes.check shows why."
        )
    return INCOMPLETE if unsound else 0


if __name__ == "__main__":
    run_main(main)
