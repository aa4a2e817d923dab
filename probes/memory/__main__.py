"""`python -m probes.memory`: what an engine's memory is made of, by one of its processes or by its server's address.

This module is the command; `account` asks for everything, `table` shows it.
"""

from __future__ import annotations

import argparse
import json

from probes.arguments import CommandParser
from probes.errors import run_main

EPILOG = """examples:
  python -m probes.memory                            the engine on this machine
  python -m probes.memory 4242                       the engine that process 4242 belongs to, any of its processes
  python -m probes.memory http://127.0.0.1:8000      a server; its processes too where it is local
  python -m probes.memory 4242 --model /models/M --json
"""


def command_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m probes.memory",
        description="What an engine's memory is made of: processes, weights, KV cache, GPUs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("engine", nargs="?", metavar="PID|URL", help="any process of the engine, or its server")
    parser.add_argument("--model", metavar="DIR", help="the model's folder, where the command line does not name it")
    parser.add_argument("--json", action="store_true", help="print JSON, sizes in bytes")
    return parser


def main() -> int:
    """The command."""
    args = command_parser().parse_args()
    from probes.memory.account import engine_memory, find_engine
    from probes.memory.table import WHY, report

    group, at = find_engine(args.engine)
    memory = engine_memory(group, at, args.model)
    print(json.dumps(memory.as_dict() | {"why": WHY}, indent=2) if args.json else "\n".join(report(memory)))
    return 0


if __name__ == "__main__":
    run_main(main)
