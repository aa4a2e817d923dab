"""`python -m offline.load`: drives engines with open-loop traffic, and a plain PyTorch baseline with the very same.

This module is the command; `preparation` makes or opens the run, `runner` measures, `offline.variants.process` serves.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import INCOMPLETE, INTERRUPTED, run_main, terminable, usage_error

if TYPE_CHECKING:
    from offline.load.preparation import PreparedLoad

VARIANTS_HELP = "names, or `all` (default torch-baseline,vllm-page,vllm-all-opt; with a file, all it defines)"
NAMED = (
    "model",
    "load_format",
    "workload",
    "rates",
    "arrivals",
    "burstiness",
    "variants",
    "starts",
    "seed",
    "base_url",
    "knee",
    "parallel",
)
RATES_HELP = "requests a second (default with --arrivals recorded: the recording's own)"
PARALLEL_HELP = "an engine on each card of this machine at a time; refused where trials would disturb each other"
KNEE_HELP = "search the highest sustainable rate of each variant; it begins at the first of --rates"
EPILOG = """examples:
  python -m offline.load --rates 1,2,4,8                    the default model, Alpaca-like lengths, three variants
  python -m offline.load --rates 1,5,10,20 --duration 60s --variants all --budget 4h --starts 3
  python -m offline.load --rates 4,8 --variants vllm-page,vllm-page+prefix-caching --workload mix_profile.json
  python -m offline.load --workload production.jsonl --arrivals recorded    recorded traffic as it came
  python -m offline.load --rates 4,8 --variants-file variants.toml
  python -m offline.load --knee --budget 2h                 the highest rate that each variant sustains, as a bracket
  python -m offline.load --rates 4,8 --base-url http://127.0.0.1:8000
  python -m offline.load --rates 1,2,4,8 --starts 3 --on ray    each start on a node of a Ray cluster
  python -m offline.load --resume                           continue the last unfinished run

Each rate is measured for --duration after its first second is scheduled; what still runs then has half that time left,
and what is not done by then counts as unfinished. One level, one request at a time, is measured besides the rates.

exit codes: 0 done, 3 a variant failed or was refused, 2 bad usage, 1 another failure, 130 Ctrl-C
"""


def command_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m offline.load",
        description="Latency and throughput of an engine under open-loop traffic, beside a plain PyTorch baseline.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    add_traffic(parser.add_argument_group("the traffic"))
    add_engines(parser.add_argument_group("what is put under load"))
    add_run(parser.add_argument_group("the run"))
    return parser


def add_traffic(traffic: argparse._ActionsContainer) -> None:
    """The flags of what is sent, and when."""
    from offline.load.planning.arrivals import KINDS
    from offline.load.planning.spec import numbers
    from offline.spec.effort import duration

    traffic.add_argument("--rates", type=numbers, metavar="R,…", help=RATES_HELP)
    traffic.add_argument(
        "--duration", type=duration, metavar="T", help="of each rate, such as 30s or 2min (default 60s)"
    )
    traffic.add_argument(
        "--workload", metavar="W", help="alpaca (default), sharegpt, mixture, or a file; see offline.workload"
    )
    traffic.add_argument("--arrivals", choices=KINDS, help="arrival spacing (default poisson)")
    traffic.add_argument("--burstiness", type=float, metavar="B", help="of gamma: below 1 in bursts, above 1 steadier")
    traffic.add_argument("--schedules", type=Path, metavar="DIR", help="replay the schedules of another run")
    traffic.add_argument(
        "--seed", type=int, metavar="N", help="arrivals, lengths and tokens are drawn from it (default 0)"
    )


def add_engines(engines: argparse._ActionsContainer) -> None:
    """The flags of what answers."""
    from offline.load.planning.spec import names
    from offline.spec.flags import add_model

    add_model(engines)
    engines.add_argument("--variants", type=names, metavar="V,…", help=VARIANTS_HELP)
    engines.add_argument("--variants-file", type=Path, metavar="FILE.toml", help="further variants, by name")
    engines.add_argument("--base-url", metavar="URL", help="a server that runs already, in place of variants")


def add_run(run: argparse._ActionsContainer) -> None:
    """The flags of how it is measured, and where it goes."""
    from offline.load.planning.spec import objectives
    from offline.spec.effort import duration
    from offline.spec.flags import add_on, add_out, add_resume

    run.add_argument("--knee", action="store_true", help=KNEE_HELP)
    run.add_argument("--parallel", action="store_true", help=PARALLEL_HELP)
    run.add_argument("--starts", type=int, metavar="N", help="starts of each variant (default 1: no interval)")
    run.add_argument(
        "--budget", type=duration, metavar="T", help="leave out what does not fit into this time, and say so"
    )
    run.add_argument("--slo", type=objectives, metavar="ttft=T,…", help="objectives for goodput: ttft, tpot, e2e")
    add_on(run)
    add_out(run)
    add_resume(run)


def main() -> int:
    """The command."""
    args = command_parser().parse_args()
    with terminable():
        return measure(args)


def prepare(args: argparse.Namespace) -> PreparedLoad:
    """The run that the command line asks for, or the one that it continues."""
    from offline.cluster.nodes import asked_cluster
    from offline.load.planning.spec import LoadSpec
    from offline.load.preparation import new_run, resumed_run

    cluster = asked_cluster(args, "parallel", "base_url")
    if args.resume is not None:
        return resumed_run(args.resume, args.out, cluster)
    values = {name: getattr(args, name) for name in NAMED if hasattr(args, name)}
    for name, key in (("duration", "duration_s"), ("budget", "budget_s"), ("slo", "slo_s")):
        values |= {key: getattr(args, name)} if hasattr(args, name) else {}
    if "base_url" in values and "variants" in values:
        raise usage_error("--base-url is one server: leave --variants out")
    spec = LoadSpec(**values)
    return new_run(spec, args.out, getattr(args, "variants_file", None), getattr(args, "schedules", None), cluster)


def measure(args: argparse.Namespace) -> int:
    """Prepare the run, measure what is missing, and say how it ended."""
    from rich.console import Console

    from offline.load.budget import Budget
    from offline.load.elsewhere import load_runner
    from offline.load.folder import read_starts
    from offline.load.progress import LoadProgress
    from offline.records.run import now
    from offline.records.runindex import write_index
    from offline.spec.plan import minutes
    from offline.traffic.pages.report import write
    from offline.variants.resolution import resolution_notes

    console, remarks = Console(stderr=True), list[str]()
    prepared = prepare(args)  # after all imports: once there is a folder, an interrupt is written into it
    run, folder = prepared.run, prepared.folder
    try:
        console.print(f"{run.workload}\nestimate: {minutes(run.estimate_s)}", soft_wrap=True, highlight=False)
        for note in run.notes:
            console.print(f"note: {note}", soft_wrap=True, highlight=False)
        budget = Budget(run.spec, time.monotonic() + (run.spec.budget_s or math.inf))
        folder.write_run(replace(run, state="running"))
        with LoadProgress(run.estimate_s, console, prepared.at_once) as progress:
            runner = load_runner(prepared, progress, budget, remarks)
            runner.run()
        state, code = ("incomplete", INCOMPLETE) if runner.failed else ("complete", 0)
    except KeyboardInterrupt:
        state, code = "interrupted", INTERRUPTED
        words = f"interrupted; to continue: python -m offline.load --resume {folder.path}"
        console.print(words, soft_wrap=True, highlight=False)
    notes = (*run.notes, *resolution_notes(read_starts(folder.path)), *remarks)
    run = replace(run, state=state, ended=now(), notes=tuple(dict.fromkeys(notes)))
    lines, handout = write(folder.path, run)
    folder.write_run(run)  # last: a run without its tables is continued
    folder.close()
    write_index(folder.path.resolve().parents[2])
    print(*lines, f"Wrote {handout}", f"Wrote {folder.path}", sep="\n")
    return code


if __name__ == "__main__":
    run_main(main)
