"""`python -m offline.baseline`: the same batches through vLLM and through transformers on plain PyTorch."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import INCOMPLETE, INTERRUPTED, run_main, terminable, usage_error

if TYPE_CHECKING:
    from offline.baseline.folder import BaselineRun

EPILOG = """examples:
  python -m offline.baseline                                   the default model, batches of 1, 4, 8 and 16
  python -m offline.baseline --batch-size 1,32 --rounds 10 --starts 3
  python -m offline.baseline --model ORG/NAME --dtype bfloat16 --input-len 256 --output-len 128

exit codes: 0 done, 3 a side failed and the table holds what was measured before, 2 bad usage, 1 another failure,
130 Ctrl-C
"""


def command_parser() -> argparse.ArgumentParser:
    """The command line."""
    from offline.spec.flags import add_out
    from offline.spec.spec import integers

    parser = CommandParser(
        prog="python -m offline.baseline",
        description="Memory, latency and throughput of vLLM against transformers on plain PyTorch, batch by batch.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--model", default="", metavar="M", help="a local folder (default: the embedded default model)")
    parser.add_argument(
        "--load-format", default="auto", metavar="F", help="vLLM's load format; `dummy`: random weights"
    )
    parser.add_argument("--dtype", metavar="T", help="of both sides (default: what fits this machine)")
    parser.add_argument("--batch-size", type=integers, default=(1, 4, 8, 16), metavar="N,…", help="default 1,4,8,16")
    parser.add_argument("--input-len", type=int, default=64, metavar="N", help="prompt tokens (default 64)")
    parser.add_argument("--output-len", type=int, default=32, metavar="N", help="tokens to generate (default 32)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="timed batches of each size (default 3)")
    parser.add_argument("--starts", type=int, default=1, metavar="N", help="starts of both sides (default 1)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="prompts and orders are drawn from it")
    parser.add_argument("--time-limit", type=float, default=600.0, metavar="S", help="of a start or a batch (600)")
    add_out(parser)
    return parser


def main() -> int:
    """The command."""
    args = command_parser().parse_args()
    for name in ("input_len", "output_len", "rounds", "starts"):
        if getattr(args, name) < 1:
            raise usage_error(f"--{name.replace('_', '-')} must be 1 or more, not {getattr(args, name)}")
    with terminable():
        return measure(*planned_run(args), args)


def planned_run(args: argparse.Namespace) -> tuple[Path, BaselineRun]:
    """The model's folder, and the run as it will be recorded."""
    from offline.baseline.folder import BaselineRun
    from offline.baseline.records import TORCH, VLLM
    from offline.records.run import new_id, now
    from offline.spec import model as models
    from offline.spec.plan import base_settings
    from offline.spec.spec import Spec
    from probes.engineplatform import engine_platform
    from probes.machine import fingerprint
    from probes.privacy.commandline import command_line

    model, machine = models.find(args.model, args.load_format), fingerprint(engine_platform())
    if not isinstance(model, Path):
        raise usage_error(f"--model {model}: the baseline reads a local folder; download the model and name its folder")
    spec = Spec(load_format=args.load_format, input_len=(args.input_len,), output_len=(args.output_len,))
    engine = base_settings(spec, model, machine)
    engine |= {"enable_prefix_caching": False, "max_num_seqs": max(args.batch_size)}
    engine["dtype"] = args.dtype or ("bfloat16" if engine["dtype"] == "auto" else engine["dtype"])
    run = BaselineRun(
        id=new_id(),
        command_line=command_line(sys.argv),
        model=models.label(model),
        machine=machine,
        batches=tuple(args.batch_size),
        input_len=args.input_len,
        output_len=args.output_len,
        rounds=args.rounds,
        starts=args.starts,
        seed=args.seed,
        settings={VLLM: engine, TORCH: {"dtype": engine["dtype"]}},
        began=now(),
    )
    return model, run


def measure(model: Path, run: BaselineRun, args: argparse.Namespace) -> int:
    """Run all starts, write the tables, and say how it ended."""
    from offline.baseline.folder import create, write_run, write_tables
    from offline.baseline.records import read_lines, write_line
    from offline.baseline.runner import SideRunner
    from probes.processes.engine import EngineFailed

    path = create(args.out, run)
    lines = path / "records.jsonl"
    runner = SideRunner(
        batches=run.batches,
        input_len=run.input_len,
        output_len=run.output_len,
        rounds=run.rounds,
        settings={side: {**settings, "model": str(model)} for side, settings in run.settings.items()},
        logs=path / "logs",
        limit_s=args.time_limit,
        seed=run.seed,
        keep=lambda record: write_line(lines, record),
        progress=lambda text: print(text, file=sys.stderr, flush=True),
    )
    state, reason, code = "complete", None, 0
    try:
        for start in range(1, run.starts + 1):
            runner.run(start)
    except EngineFailed as failure:
        state, reason, code = "incomplete", str(failure), INCOMPLETE
        print(f"warning: {failure}; logs: {path / 'logs'}", file=sys.stderr)
    except KeyboardInterrupt:
        state, code = "interrupted", INTERRUPTED
    run = replace(run, state=state, reason=reason)
    print("\n".join(write_tables(path, run, read_lines(lines))))
    write_run(path, run)
    print(f"Wrote {path}")
    return code


if __name__ == "__main__":
    run_main(main)
