"""`python -m offline.sweep`: drives `vllm.LLM` across batch sizes, block sizes and prefix caching, and leaves a table.

This module is the command; `preparation` makes or opens the run, `measurement` takes it to its end, `runner` runs the
grid, `offline.engine.arm` measures, `offline.table.cells` reads.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import EnginescopeError, run_main, terminable, usage_error

if TYPE_CHECKING:
    from offline.spec.settings import SpecValues

SPEC_FLAGS = (
    *("model", "load_format", "batch_size", "block_size", "prefix_caching", "cache_state", "input_len", "output_len"),
    *("shared_prefix_len", "temperature", "repeats", "starts", "seed", "trace", "vllm", "cards"),
)
BATCH_HELP = "requests submitted at once (default 1,4,8,16; other defaults keep the run to ten minutes)"
TEMPERATURE_HELP = "of sampling (default 0, greedy); random numbers come from the engine's seed, --engine seed=N (0)"
VLLM_HELP = "an axis: versions, folders with a vllm package, Pythons of environments, `installed` for this one"
BISECT_HELP = (
    "since which version between these is it slower? --vllm lists those between (default: the index's); one block "
    "size (64) and no prefix caching, where not asked for otherwise"
)
REPEATS_HELP = "trials of each cell in each start (default: 3, and of several arms up to 20 where ten minutes allow it)"
STARTS_HELP = "engine starts of each arm (default: 2 of six arms or more, up to 6 of two, as ten minutes allow)"
UNTIL_HELP = "add starts and rounds until the widest main effect on output tok/s is known within ± this"
BUDGET_HELP = "stop once this is used up (default 10m with --until, 2h with --bisect), but always run what is planned"
TRACE_HELP = "one more trial of each cell in each start, untimed, under the recorder: where the cell's time goes"
FORCE_HELP = "resume although machine, vLLM or model differ; the run is marked"
ALL_HELP = "print all rows and, where the terminal is wide, all figures (default: at most 100 columns)"
LIMIT_HELP = "an engine start or a trial that takes longer is killed (default 10m)"
EPILOG = """examples:
  python -m offline.sweep                                     a grid that fits this machine, in at most ten minutes
  python -m offline.sweep --plan                              show what would be run, and how long it takes
  python -m offline.sweep --batch-size 1,8 --block-size 32 --engine max_num_batched_tokens=512,2048
  python -m offline.sweep --engine 'speculative_config={"method":"ngram","num_speculative_tokens":3}'
  python -m offline.sweep --batch-size 1,8 --engine seed=0,1 --until 3% --budget 20m
  python -m offline.sweep --vllm 0.31.0,0.32.0                which is faster? (each built once, 3.5 GB in the cache)
  python -m offline.sweep --python old/.venv/bin/python,new/.venv/bin/python
  python -m offline.sweep --vllm installed,../vllm            has this checkout become slower?
  python -m offline.sweep --bisect 0.29.0 0.32.0 --budget 2h  since which version? (a sweep of two of them a step)
  python -m offline.sweep --model ORG/7B,ORG/14B --cards 1,2  two models, each on its cards
  python -m offline.sweep --starts 4 --on ray                 each start on a node of a Ray cluster
  python -m offline.sweep --resume                            continue the last unfinished run

exit codes: 0 done, 3 a cell failed or the engine refused all, 2 bad usage, 1 another failure, 130 Ctrl-C
"""


def command_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m offline.sweep",
        description="Throughput and latency of vllm.LLM across batch sizes, block sizes and prefix caching, offline.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    add_grid(parser.add_argument_group("the grid"))
    add_run(parser.add_argument_group("the run"))
    return parser


def add_grid(grid: argparse._ActionsContainer) -> None:
    """The flags of what is measured, each a key of the spec."""
    from offline.spec.flags import add_model
    from offline.spec.spec import integers, numbers, words

    add_model(grid)
    grid.add_argument(
        "--cards",
        type=integers,
        metavar="N,…",
        help="for each model, in order, how many cards share it",
    )
    grid.add_argument("--batch-size", type=integers, metavar="N,…", help=BATCH_HELP)
    grid.add_argument(
        "--block-size", type=integers, metavar="N,…", help="KV block sizes (default 32,64,128; CUDA 16,32,64)"
    )
    grid.add_argument("--prefix-caching", type=words, metavar="off,on", help="default: both")
    grid.add_argument("--cache-state", type=words, metavar="cold,warm", help="warm: the shared prefix is in the cache")
    grid.add_argument("--input-len", type=integers, metavar="N,…", help="prompt tokens (default: shared prefix + 32)")
    grid.add_argument("--output-len", type=integers, metavar="N,…", help="tokens to generate (default 16)")
    grid.add_argument("--shared-prefix-len", type=integers, metavar="N,…", help="default: two of the largest blocks")
    grid.add_argument("--temperature", type=numbers, metavar="T,…", help=TEMPERATURE_HELP)
    grid.add_argument(
        "--engine", action="append", metavar="KEY=V1,V2", help="any engine argument: one value or an axis"
    )
    grid.add_argument("--vllm", "--python", dest="vllm", type=words, metavar="V,…", help=VLLM_HELP)
    grid.add_argument("--spec", metavar="FILE.toml", help="read all of this from a file; flags override it")


def add_run(run: argparse._ActionsContainer) -> None:
    """The flags of how it is measured, and where it goes."""
    from offline.spec.effort import duration, share
    from offline.spec.flags import add_on, add_out, add_resume

    run.add_argument("--repeats", type=int, metavar="N", help=REPEATS_HELP)
    run.add_argument("--starts", type=int, metavar="N", help=STARTS_HELP)
    run.add_argument("--until", type=share, metavar="3%", help=UNTIL_HELP)
    run.add_argument("--budget", type=duration, metavar="10m", help=BUDGET_HELP)
    run.add_argument("--bisect", nargs=2, metavar=("GOOD", "BAD"), help=BISECT_HELP)
    run.add_argument("--trace", action="store_true", help=TRACE_HELP)
    run.add_argument("--seed", type=int, metavar="N", help="prompts and orders are drawn from it (default 0)")
    run.add_argument("--time-limit", type=duration, default=600.0, metavar="10m", help=LIMIT_HELP)
    add_on(run)
    add_out(run)
    run.add_argument("--variant", default="default", metavar="NAME", help="a name for this kind of run")
    add_resume(run)
    run.add_argument("--force", action="store_true", default=False, help=FORCE_HELP)
    run.add_argument("--all", action="store_true", default=False, help=ALL_HELP)
    run.add_argument("--plan", action="store_true", default=False, help="print the plan and stop")
    run.add_argument("--yes", action="store_true", default=False, help="do not ask before a long run")


def spec_values(args: argparse.Namespace) -> SpecValues:
    """The keys that the spec file and the flags name, with their values; a flag overrides the file."""
    from offline.spec.spec import parse_engine, read_toml

    values: SpecValues = read_toml(args.spec) if hasattr(args, "spec") else {}
    values |= flag_values(args)
    if hasattr(args, "engine"):
        in_file = values.get("engine", {})
        if not isinstance(in_file, dict):
            raise usage_error(f"[engine] in {args.spec} must be a table of engine arguments, not {in_file!r}")
        values["engine"] = {**in_file, **parse_engine(args.engine)}
    return values


def flag_values(args: argparse.Namespace) -> SpecValues:
    """What the flags give; a value that cannot be is refused under its flag's name."""
    from offline.spec.spec import Spec

    values = {name: getattr(args, name) for name in SPEC_FLAGS if hasattr(args, name)}
    for name, value in values.items():
        try:
            Spec.from_dict({name: value})
        except EnginescopeError as error:
            raise usage_error(str(error).replace(name, f"--{name.replace('_', '-')}", 1)) from None
    return values


def main() -> int:
    """The command."""
    args = command_parser().parse_args()
    with terminable():
        if hasattr(args, "bisect"):
            from offline.sweep.bisection import bisect

            return bisect(args, spec_values(args))
        from offline.sweep.preparation import new_run, resumed_run

        values, prepare = spec_values(args), new_run if args.resume is None else resumed_run
        if not args.plan:  # before there is a folder: from then on an interrupt is written into it
            from offline.sweep.measurement import measure
        run = prepare(args, values)
        return measure(run, args.time_limit, args.all) if run else 0


if __name__ == "__main__":
    run_main(main)
