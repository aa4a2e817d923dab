"""`python -m tracing.sites`: prints the map of the engine with the lines in vLLM's source, which is not imported."""

from __future__ import annotations

import argparse
from pathlib import Path

from probes.arguments import CommandParser
from probes.errors import run_main
from tracing.sites.check import show
from tracing.sites.engine import SITES
from tracing.source.tree import SourceTree

EPILOG = """examples:
  python -m tracing.sites                        the sites in the installed vLLM
  python -m tracing.sites --absent               with the functions of each that are not there
  python -m tracing.sites --vllm ~/src/vllm      in a checkout, or in a wheel that was unzipped

exit codes: 0 every function of each required site is there and of its kind, 1 one is not, 2 bad usage
"""


def main() -> int:
    """Print every site with its lines in vLLM's source."""
    parser = CommandParser(
        prog="python -m tracing.sites",
        description="Every function of vLLM that tracing hooks, with its place in the source. Imports nothing of vLLM.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--vllm", type=Path, metavar="PATH", help="an unpacked tree (default: the installed one)")
    parser.add_argument("--absent", action="store_true", help="name the functions that the tree does not have, too")
    args = parser.parse_args()
    return show(SITES, SourceTree.find(args.vllm), args.absent)


if __name__ == "__main__":
    run_main(main)
