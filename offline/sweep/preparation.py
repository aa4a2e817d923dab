"""A run made ready to be measured: a new one, planned and confirmed, or an unfinished one on disk."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from offline.cluster.nodes import RayCluster, asked_cluster
from offline.engine.reference import time_kernels
from offline.environments.environment import Environment
from offline.environments.finding import environment_changes, environments, refuse_unrecorded
from offline.environments.packages import python_in
from offline.records.continuation import other_conditions
from offline.records.lines import Record, TrialRecord
from offline.records.run import PlannedArm, RunRecord, new_id, now, read_run
from offline.records.runfolder import RunFolder, newest_unfinished, read_records
from offline.records.traced import TracedRecord
from offline.spec.effort import Effort
from offline.spec.estimate import estimate, minutes, slowness
from offline.spec.limits import expected_refusals, refuse_too_long, remarks
from offline.spec.memory import refuse_too_many
from offline.spec.models import Models, find_models, recorded_models
from offline.spec.passes import CellIndex
from offline.spec.plan import FEWEST_STARTS, Plan, complete, grid_of, plan
from offline.spec.settings import EngineAxes, SpecValues
from offline.spec.spec import Spec
from probes.console import counted
from probes.engineplatform import engine_platform
from probes.errors import EnginescopeError, usage_error
from probes.machine import fingerprint, platform_text
from probes.privacy.commandline import command_line
from probes.programs import OWN_PYTHON

ASK_ABOVE_S = 30 * 60
NOT_ELSEWHERE = "--on ray measures what is planned, with each node's own vLLM: leave --vllm, --until and --budget out"
CONTINUES = "continues {}, with {} measured; the estimate is of what is left"
ADDED = "beyond this plan, starts are added until the differences are known well enough or the time is used"


@dataclass
class PreparedRun:
    """A run that is ready to be measured."""

    folder: RunFolder
    plan: Plan
    models: Models
    cluster: RayCluster | None = None  # that measures it, where it is not this machine


def new_run(args: argparse.Namespace, spec_values: SpecValues) -> PreparedRun | None:
    """Show the plan, ask where it takes long, and make the folder; None where only the plan was wanted."""
    goal = effort(args)  # a run that has one adds the starts that it needs itself
    spec = Spec.from_dict(({"starts": FEWEST_STARTS} if goal else {}) | spec_values)
    if args.on and spec.vllm:
        raise usage_error(NOT_ELSEWHERE)
    cluster = None if args.plan else asked_cluster(args, "until", "budget")
    every = environments(spec.vllm)
    if spec.trace:
        refuse_unrecorded(every)
    spec = replace(spec, vllm=tuple(every))
    models, machine = find_models(spec.model, spec.load_format, spec.cards), fingerprint(engine_platform())
    slow = slowness(time_kernels())
    spec, note = complete(with_types(spec, every), models, machine, slow)
    for place in models.places.values():
        refuse_too_long(spec, place)
    planned = plan(spec, models, machine, slow)
    planned = replace(planned, alive=1) if args.on else planned  # a node's devices are one engine's
    notes = [*([note] if note else []), *remarks(spec), *expected_refusals(spec, machine)]
    if not to_run(args, planned.seconds, planned.describe(models.label, platform_text(machine), notes)):
        return None
    run = RunRecord(
        id=new_id(),
        variant=args.variant,
        command_line=command_line(sys.argv),
        spec=spec,
        model=models.label,
        model_path=models.path_text,
        model_mark=models.mark(),
        machine=machine,
        estimate_s=planned.seconds,
        arms={arm.id: PlannedArm(arm.name, arm.settings) for arm in planned.grid},
        began=now(),
        alive=planned.alive,
        environments=every,
        effort=goal,
    )
    return PreparedRun(RunFolder.create(args.out, run), planned, models, cluster)


def to_run(args: argparse.Namespace, seconds: float, plan_text: str) -> bool:
    """Print the plan, which with --plan is the result and else progress; whether it is to be measured.

    `EnginescopeError` where it takes long and the person at the terminal says no.
    """
    print(plan_text, file=sys.stdout if args.plan else sys.stderr, flush=True)
    if args.plan:
        return False
    long = seconds > ASK_ABOVE_S
    if long and not args.yes and sys.stdin.isatty() and not confirm(minutes(seconds)):
        raise EnginescopeError("not started")
    return True


def effort(args: argparse.Namespace, before: Effort | None = None) -> Effort | None:
    """What an adaptive run goes for, or went for `before`; None for a run of the planned trials alone."""
    limits = {"until": getattr(args, "until", None), "budget_s": getattr(args, "budget", None)}
    values = {name: value for name, value in limits.items() if value is not None}
    return replace(before or Effort(), **values) if values else before


def resumed_run(args: argparse.Namespace, spec_values: SpecValues) -> PreparedRun | None:
    """Open the run to continue; refused, with the difference named, where it would not be the same run."""
    path = Path(args.resume) if args.resume else newest_unfinished(args.out, args.variant)
    run, machine = read_run(path), fingerprint(engine_platform())
    try:
        models = recorded_models(run.model_path)
    except FileNotFoundError as error:
        raise EnginescopeError(f"{path} cannot be resumed: its model {error} is gone") from None
    grid = grid_of(run.spec, models, machine)
    other = other_settings(run, spec_values, {arm.id for arm in grid})
    unlike = other_conditions(run.machine, machine, run.model_mark, models.mark())
    unlike += environment_changes(run.environments)
    if other or (unlike and not args.force):
        words = "; ".join([*unlike, *other])
        raise EnginescopeError(f"{path} cannot be resumed, since it would be another run: {words}")
    goal, slow = effort(args, run.effort), slowness(time_kernels())
    if args.on and (goal or run.environments):
        raise usage_error(NOT_ELSEWHERE)
    refuse_too_many(grid, models, machine, run.alive)
    time = estimate(run.spec, grid, models, machine, run.alive, slow)
    measured, traced = on_disk(read_records(path))
    planned = Plan(run.spec, grid, run.alive, time.left_s(measured, traced), time.start_s, slow)
    notes = [CONTINUES.format(path, counted(len(measured), "trial")), *([ADDED] if goal else [])]
    if not to_run(args, planned.seconds, planned.describe(models.label, platform_text(machine), notes)):
        return None
    cluster, folder = asked_cluster(args), RunFolder(path)
    folder.write_run(replace(run, effort=goal, forced=tuple(dict.fromkeys([*run.forced, *unlike]))))
    return PreparedRun(folder, planned, models, cluster)


def on_disk(records: Collection[Record]) -> tuple[set[CellIndex], set[CellIndex]]:
    """Of a run's records the trials that are measured, and those that are recorded."""
    measured = {(each.cell, each.trial) for each in records if isinstance(each, TrialRecord)}
    return measured, {(each.cell, each.start) for each in records if isinstance(each, TracedRecord)}


def other_settings(run: RunRecord, spec_values: SpecValues, arm_ids: set[str]) -> list[str]:
    """How the spec differs from that of the run on disk."""
    spec = Spec.from_dict(spec_values)
    labels = tuple(environments(spec.vllm))
    before, after = run.spec.as_dict(), with_types(replace(spec, vllm=labels), run.environments).as_dict()
    unlike = [
        f"{key}: {before[key]!r} in the run, {after[key]!r} now" for key in spec_values if before[key] != after[key]
    ]
    if not unlike and arm_ids != set(run.arms):
        unlike.append("engine arguments: this version of enginescope derives others from the same spec")
    return unlike


def confirm(time_text: str) -> bool:
    """Ask on the terminal, which standard output may not be; its end, Ctrl-D, is a no."""
    print(f"This may take {time_text}. Start? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def with_types(spec: Spec, every: Mapping[str, Environment]) -> Spec:
    """The spec with its engine arguments by vLLM's own types; where environments are named, each has to know them."""
    engines = [engine_types(spec.engine, environment) for environment in every.values() or (None,)]
    return Spec.from_dict({**spec.as_dict(), "engine": engines[0]})


def engine_types(engine: EngineAxes, environment: Environment | None) -> EngineAxes:
    """Engine arguments by vLLM's own types, checked in a process of its own (it costs vLLM's import)."""
    if not engine:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        python, path = python_in(environment, Path(folder) / "packages") if environment else (OWN_PYTHON, {})
        words, variables = [*python, "-m", "offline.engine"], {**os.environ, **path}
        process = subprocess.run(words, input=json.dumps(engine), capture_output=True, text=True, env=variables)
    try:
        answer: dict[str, Any] = json.loads(process.stdout)
    except ValueError:
        last = (process.stderr.strip().splitlines() or ["no output"])[-1]
        raise EnginescopeError(f"vLLM does not answer about its engine arguments: {last}") from None
    if "problem" in answer:
        raise usage_error(answer["problem"])
    values: EngineAxes = answer["typed"]
    return values
