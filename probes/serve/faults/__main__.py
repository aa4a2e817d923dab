"""`python -m probes.serve.faults`: write the table of causes as a page, or check its lines against a vLLM."""

from __future__ import annotations

import argparse
import sysconfig
from collections import Counter
from pathlib import Path

from probes.arguments import CommandParser
from probes.errors import FAILED, run_main, usage_error

EPILOG = """examples:
  python -m probes.serve.faults                                   write probes/TROUBLESHOOTING.md
  python -m probes.serve.faults --check                           are the lines those of this Python's packages?
  python -m probes.serve.faults --check /venv/lib/python3.12/site-packages

exit codes: 0 written, or all lines are said somewhere, 1 some are not, 2 bad usage
"""


def command_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m probes.serve.faults",
        description="The table of causes: its page, and whether vLLM and the other packages still say its lines.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    here = sysconfig.get_paths()["purelib"]
    parser.add_argument(
        "--check",
        nargs="?",
        const=here,
        metavar="DIR",
        help="a site-packages folder or an unpacked tree (default: here)",
    )
    return parser


def main() -> int:
    """The command."""
    args = command_parser().parse_args()
    return check(Path(args.check)) if args.check else write()


def write() -> int:
    """Write the page."""
    from probes.serve.faults.page import PAGE, page

    PAGE.write_text(page())
    print(f"Wrote {PAGE}")
    return 0


def check(packages: Path) -> int:
    """Print the lines that are not said any more, each with the nearest that is, and those that another file says."""
    from probes.serve.explain.sourcelines import SOURCE_LINES
    from probes.serve.faults.causes.table import CAUSES
    from probes.serve.faults.wording import HasSource, has_source, moved, reworded

    if not (packages / "vllm").is_dir():
        raise usage_error(f"{packages} holds no vllm; give a site-packages folder, or the folder of an unpacked source")
    lines: list[HasSource] = [*filter(has_source, CAUSES), *SOURCE_LINES]
    missing = list(reworded(lines, packages))
    elsewhere = moved(missing, packages)
    otherwise = [each for each in missing if each.old.line not in elsewhere]
    for each in otherwise:
        print(f"{each.old.source} ({each.version}) does not say: {each.old.line}")
        print(f"  nearest: {each.nearest}")
    for place, count in sorted(Counter(elsewhere.values()).items()):
        print(f"{place} says {count} of the lines, where another file did")
    print(f"{len(otherwise)} of {len(lines)} lines with a source are said otherwise")
    return FAILED if otherwise else 0


if __name__ == "__main__":
    run_main(main)
