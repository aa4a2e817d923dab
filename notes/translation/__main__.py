"""Holds the notes in other languages against the English ones, paragraph by paragraph."""

from __future__ import annotations

import argparse
from pathlib import Path

from probes.arguments import CommandParser
from probes.errors import run_main, usage_error

EXAMPLES = """examples:
  python -m notes.translation                                  which paragraphs lack a counterpart, or changed
  python -m notes.translation --begin study/day-1              writes the counterpart's file, English where none is yet
  python -m notes.translation --reread walkthrough/05-scheduler   the Chinese was read again and is right as it is
  python -m notes.translation --readme                         writes README.zh.md out of the counterparts

exit codes: 0 all is as it should be, 1 it is not, 2 bad usage
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m notes.translation",
        description="Holds the Chinese notes against the English ones, paragraph by paragraph.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--begin", metavar="TEXT", help="write the file of its counterparts, English where none is yet")
    what.add_argument("--reread", metavar="TEXT", help="its changed paragraphs were read again: the Chinese is right")
    what.add_argument("--readme", action="store_true", help="write README.zh.md out of README.md and its counterparts")
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="only these, such as study/day-1 (default: all)")
    return parser


def main() -> int:
    """The command."""
    args = parser().parse_args()
    from notes.translation import counterparts, editions, texts

    if args.texts and (args.begin or args.reread or args.readme):
        raise usage_error(f"{', '.join(args.texts)}: --begin and --reread take one text, --readme none")
    if args.readme:
        texts.README_FILES["zh"].write_text(texts.readme("zh"), encoding="utf-8")
        print(f"Wrote {texts.README_FILES['zh'].name}")
        return 0
    if name := args.begin or args.reread:
        english, path = texts.source(name).read_text(encoding="utf-8"), editions.counterpart(name, "zh")
        known = counterparts.read(path) if path.exists() else {}
        if args.reread:
            known = counterparts.reread(english, known)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(counterparts.skeleton(english, known), encoding="utf-8")
        print(f"Wrote {_short(path)}")
        return 0
    lines = [f"{name}: {line}" for name in args.texts or texts.sources() for line in _problems(name)]
    print(*lines, f"{len(lines)} to mend" if lines else "every paragraph has its counterpart", sep="\n")
    return 1 if lines else 0


def _problems(name: str) -> list[str]:
    from notes.translation import counterparts, editions, terms, texts

    source, path = texts.source(name), editions.counterpart(name, "zh")
    if not path.exists():
        return [f"no counterpart: {_short(path)} is not there"]
    english, known = source.read_text(encoding="utf-8"), counterparts.read(path)
    return [
        *counterparts.problems(english, known),
        *terms.problems(english, known, terms.read(editions.FOLDER / "zh" / "terms.md")),
    ]


def _short(path: Path) -> str:
    return "/".join(path.parts[-3:])


if __name__ == "__main__":
    run_main(main)
