"""`python -m probes.serve`: start vLLM's own server, see that it does all that a client needs, and stop it.

This module is the command. `probes.serve.command` chooses the arguments, `probes.serve.process` starts and stops,
`probes.serve.checks` asks, `probes.serve.faults` says why a server did not start, `probes.serve.session` does it all;
`probes.serve.visit` asks a server that runs already, and `probes.serve.explain` reads the log of any.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import FAILED, run_main, terminable, usage_error
from probes.serve.options import add_engine_options, check_engine_options, model_named

if TYPE_CHECKING:
    from probes.serve.command import ServeOptions
    from probes.serve.session import Session

OF_A_START = ("port", "host", "gpus", "gpu_util", "timeout", "engine", "keep", "record")
OF_A_SERVER = ("model", "url", "max_len", *OF_A_START)
EPILOG = """examples:
  python -m probes.serve                                     the default model on port 8000
  python -m probes.serve ORG/NAME --gpus 2 --max-len 8192 --timeout 900
  python -m probes.serve /models/M --port 8100 --engine max_num_seqs=8 --engine enable_prefix_caching=false
  python -m probes.serve --keep --host 0.0.0.0 --port auto   leave it running for others, if all is well
  python -m probes.serve --url http://gpu-box:8000          a server that runs already, on any host
  python -m probes.serve --record checked                    checked/serve.html and serve.md, to hand in
  python -m probes.serve --json > checks.json                for CI; progress goes to stderr
  python -m probes.serve --explain server.log --html log.html
  kubectl logs POD | python -m probes.serve --explain -      what any server's log tells, without a server

exit codes: 0 all checks passed, 1 a check failed or the server did not start (with --explain: it did not start, failed
or hung), 2 bad usage, 130 Ctrl-C
"""


def command_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m probes.serve",
        description="Start vLLM's OpenAI-compatible server, check it from outside, and stop it again.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="a folder, or a name on the hub (default: SmolLM2-135M-Instruct)"
    )
    parser.add_argument(
        "--url", metavar="URL", help="check this server instead, with the key in OPENAI_API_KEY where there is one"
    )
    parser.add_argument("--port", default="8000", help="default 8000; `auto` takes a free one and prints it")
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="0.0.0.0 lets other machines in, without a key"
    )
    add_engine_options(parser)
    parser.add_argument("--keep", action="store_true", help="leave the server running after the checks")
    parser.add_argument("--record", type=Path, metavar="DIR", help="write it all as pages to hand in, log included")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--explain", metavar="LOG", help="start nothing; read a server's log, - for stdin")
    parser.add_argument("--html", type=Path, metavar="FILE", help="with --explain: write a page too")
    parser.add_argument("--force", action="store_true", help="let --html overwrite")
    return parser


def main() -> int:
    """The command."""
    args = command_parser().parse_args()
    if args.explain:
        refuse(args, OF_A_SERVER, "--explain reads a log; {} is of a server that is asked")
        from probes.serve.explain.command import run_explain

        return run_explain(args.explain, args.json, args.html, args.force)
    refuse(args, ("html", "force"), "{} goes with --explain LOG: a page of what a server's log tells")
    check_engine_options(args)
    if args.url:
        return check_running(args)
    options = serve_options(args)
    from probes.serve.report.table import report
    from probes.serve.session import as_dict, run_session

    with terminable(), terminable(signal.SIGHUP):  # of a terminal that is closed: the server would outlive it
        session = run_session(options, args.timeout, args.keep, recording(args.record))
    print(json.dumps(as_dict(session), indent=2) if args.json else "\n".join(report(session)))
    return 0 if session.passed else FAILED


def recording(folder: Path | None) -> Callable[[Session], None]:
    """What writes a session's pages into `folder`, or nothing."""
    if folder is None:
        return lambda session: None
    from probes.serve.report.record import make_record_folder, write_record

    make_record_folder(folder)

    def record(session: Session) -> None:
        for path in write_record(session, folder):
            print(f"Wrote {path}", file=sys.stderr)

    return record


def check_running(args: argparse.Namespace) -> int:
    """The checks of a server that runs already."""
    refuse(args, OF_A_START, "--url checks a server that runs; {} is of one that is started")
    from probes.metrics.endpoint import endpoint
    from probes.serve.report.table import visit_report
    from probes.serve.visit import visit

    outcome = visit(endpoint(args.url), args.model, args.max_len, os.environ.get("OPENAI_API_KEY"))
    print(json.dumps(outcome.as_dict(), indent=2) if args.json else "\n".join(visit_report(outcome)))
    return 0 if outcome.passed else FAILED


def refuse(args: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    """Refuse what was given of these, for the reason `why` that names it."""
    parser = command_parser()
    first = next((name for name in names if getattr(args, name) != parser.get_default(name)), None)
    if first:
        raise usage_error(why.format("MODEL" if first == "model" else f"--{first.replace('_', '-')}"))


def serve_options(args: argparse.Namespace) -> ServeOptions:
    """The command line's values; refused where they cannot be."""
    from probes.checkpoint import default_model
    from probes.serve.command import ServeOptions, engine_arguments
    from probes.serve.ports import free_port, port_number

    port = port_number(args.port)
    engine = engine_arguments(args.engine)
    model = model_named(args.model) or str(default_model())
    return ServeOptions(model, port or free_port(args.host), args.gpus, args.max_len, args.gpu_util, engine, args.host)


if __name__ == "__main__":
    run_main(main)
