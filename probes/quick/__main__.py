"""`python -m probes.quick`: whether a model loads and generates on this machine, without a server.

This module is the command. `probes.quick.trial` starts and ends, `probes.quick.generation` runs inside the child.
"""

from __future__ import annotations

import argparse
import json
import signal

from probes.arguments import CommandParser
from probes.errors import FAILED, run_main, terminable, usage_error
from probes.serve.options import add_engine_options, check_engine_options, model_named

EPILOG = """examples:
  python -m probes.quick                                     the default model
  python -m probes.quick --model ORG/NAME --gpus 2 --max-len 8192
  python -m probes.quick --model /models/M --tokens 64 --engine enforce_eager=true --json

quick says whether a model loads and how fast one request alone is; serve, whether vLLM's server does all that a client
needs; batch, how many prompts a running server answers.

exit codes: 0 it generated, 1 it did not (the likely cause and what to try are printed), 2 bad usage, 130 Ctrl-C
"""


def command_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m probes.quick",
        description="Load a model with vLLM's LLM in a child process, generate one line, and show what that took.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model", metavar="MODEL", help="a folder, or a name on the hub (default: SmolLM2-135M-Instruct)"
    )
    parser.add_argument("--tokens", type=int, default=32, metavar="N", help="tokens to generate (default 32)")
    add_engine_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def main() -> int:
    """The command."""
    args = command_parser().parse_args()
    check_engine_options(args)
    if not 1 <= args.tokens < args.max_len:
        raise usage_error(f"--tokens must be from 1 to less than --max-len, not {args.tokens}")
    from probes.checkpoint import default_model
    from probes.quick.table import report
    from probes.quick.trial import run_trial
    from probes.serve.command import ServeOptions, engine_arguments

    engine = engine_arguments(args.engine)
    model = model_named(args.model) or str(default_model())
    options = ServeOptions(model, 0, args.gpus, args.max_len, args.gpu_util, engine)
    with terminable(), terminable(signal.SIGHUP):
        trial = run_trial(options, args.tokens, args.timeout)
    print(json.dumps(trial.as_dict(), indent=2) if args.json else "\n".join(report(trial)))
    return 0 if trial.generation else FAILED


if __name__ == "__main__":
    run_main(main)
