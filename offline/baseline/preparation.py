"""A comparison made ready to be measured: a new one, or an unfinished one on disk."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from offline.baseline.folder import BaselineRun, create, newest_unfinished, read_baseline_run
from offline.baseline.records import TORCH, VLLM
from offline.records.continuation import same_model
from offline.records.run import new_id, now
from offline.spec import model as models
from offline.spec.plan import base_settings
from offline.spec.spec import Spec
from probes.engineplatform import engine_platform
from probes.errors import usage_error
from probes.machine import fingerprint
from probes.privacy.commandline import command_line
from probes.privacy.home import tilde


@dataclass(frozen=True)
class PreparedBaseline:
    """A comparison in its folder, and the model's."""

    path: Path
    run: BaselineRun
    model: Path


def new_run(args: argparse.Namespace) -> PreparedBaseline:
    """The run that a command line asks for, in a new folder."""
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
        model_path=tilde(str(model)),
        model_mark=models.mark(model),
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
    return PreparedBaseline(create(args.out, run), run, model)


def resumed_run(name: str, out: Path) -> PreparedBaseline:
    """The run to continue; refused, with the difference named, where it would not be the same run."""
    path = Path(name) if name else newest_unfinished(out)
    run = read_baseline_run(path)
    model = same_model(path, run.model_path, run.model_mark, run.machine)
    return PreparedBaseline(path, run, Path(model))
