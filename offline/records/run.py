"""`run.json`: what a run was asked to do, on which machine, with which model, and how far it came."""

from __future__ import annotations

import secrets
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path

from offline.environments.environment import Environment
from offline.records.resolved import Resolved
from offline.records.runformat import RunFormat
from offline.spec.effort import Effort
from offline.spec.model import ModelMark
from offline.spec.passes import BegunStart
from offline.spec.settings import EngineSettings
from offline.spec.spec import Spec
from probes.machine import Machine
from probes.rates.rates import Rates

INTERRUPTED = "INTERRUPTED: this run did not come to its end; python -m offline.sweep --resume{} continues it."
TIME = "%Y-%m-%dT%H:%M:%S%z"
SCHEMA = 6  # 3 had no rates, 4 neither groups nor rounds, 5 single lengths and passes in place of starts


@dataclass(frozen=True)
class PlannedArm:
    """An arm as it was planned, and what its engine made of it once one came up."""

    name: str
    settings: EngineSettings  # vLLM's engine arguments, by name
    resolved: Resolved | None = None


@dataclass(frozen=True)
class RunRecord:
    """One run. `state` is running, complete, incomplete or interrupted; times are local, with their zone."""

    id: str
    variant: str
    command_line: str
    spec: Spec
    model: str  # a short name
    model_path: str  # a folder, the home written as `~`, or a hub id
    model_mark: ModelMark
    machine: Machine
    estimate_s: float
    arms: dict[str, PlannedArm]  # by the arm's id
    began: str
    alive: int = 1  # engines that were alive at a time
    effort: Effort | None = None  # of an adaptive run
    forced: tuple[str, ...] = ()  # what differed when it was continued with --force
    elsewhere: tuple[str, ...] = ()  # how nodes of a cluster that measured parts of it differ from `machine`
    state: str = "running"
    begun: BegunStart | None = None  # of an adaptive run, the last start beyond the planned ones
    ended: str | None = None
    environments: dict[str, Environment] = field(default_factory=dict)  # by label, where the spec names any
    rates: Rates | None = None  # of the machine, measured once the engines are gone; not compared on resuming


def marks(run: RunRecord, folder: Path | None = None) -> list[str]:
    """What must be read before the figures of a run that was interrupted, continued by force or measured elsewhere.

    A page in the run's own folder need not name that.
    """
    interrupted = [interrupted_mark(folder)] if run.state == "interrupted" else []
    forced = [f"FORCED: parts of this run were measured under other conditions: {each}." for each in run.forced]
    nodes = [f"OTHER NODES: parts of this run were measured elsewhere: {each}." for each in run.elsewhere]
    return [*interrupted, *forced, *nodes]


def interrupted_mark(folder: Path | None = None) -> str:
    """That a run was interrupted, and how to continue the one of a folder."""
    return INTERRUPTED.format(f" {shlex.quote(str(folder))}" if folder else "")


def new_id() -> str:
    """`20260131-235959-0a1b2c`: names sort by time, and two runs of one second differ."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def now() -> str:
    """The local time with its zone, as a record holds it."""
    return time.strftime(TIME)


FORMAT = RunFormat(RunRecord, SCHEMA)


def run_json(run: RunRecord) -> str:
    """The text of a `run.json`."""
    return FORMAT.text(run)


def read_run(folder: Path) -> RunRecord:
    """The run of a folder; `EnginescopeError` where it has none, a damaged one, or one of another command or schema."""
    return FORMAT.read(folder)
