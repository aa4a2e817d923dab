"""The stages that can be delayed: each has the sites whose calls are delayed, and the kind of its delay."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from probes.errors import usage_error
from tracing.events.delays import HOLDING, ON_DEVICE, RELEASING, SPINNING
from tracing.sites.engine import ALL_SITES, CODES


@dataclass(frozen=True)
class DelayedStage:
    """A stage of a step, the site that is delayed for it, and the kind of delay (`tracing.events.delays`); `pid` is the
    one process in which it is delayed, 0 for all that have it. Where the steps do not call the site, the first of
    `otherwise` that they call is delayed."""

    name: str
    site: str
    kind: int = SPINNING
    pid: int = 0
    otherwise: tuple[str, ...] = ()

    @property
    def on_device(self) -> bool:
        """Whether its delay, and its own time, are the device's."""
        return self.kind == ON_DEVICE

    @property
    def code(self) -> int:
        """The site's number in the records."""
        return CODES[self.site]

    @property
    def role(self) -> str:
        """Where it runs."""
        return ALL_SITES[self.code].role


# Who calls a whole CUDA graph does not call the model: the first is Model Runner V1's, the second V2's.
WITHOUT_MODEL = ("runner.forward", "graph.run")
# A device works in order: where in a step a delay lies there makes no difference, so all of a step's work is one stage.
WORK = "work on device"  # delayed by default besides, where there is a device
# In the order of a step. Python's work holds the GIL; the model's forward pass lets go of it.
STAGES = {
    stage.name: stage
    for stage in (
        DelayedStage("schedule", "scheduler.schedule"),
        DelayedStage("dispatch", "executor.dispatch"),
        DelayedStage("execute", "worker.execute"),
        DelayedStage("prepare", "runner.prepare"),
        DelayedStage("forward", "model.forward", RELEASING, otherwise=WITHOUT_MODEL),
        DelayedStage(WORK, "model.forward", ON_DEVICE, otherwise=WITHOUT_MODEL),
        DelayedStage("sample", "worker.sample"),
        DelayedStage("update", "scheduler.update"),
        DelayedStage("serialize", "core.encode"),
        DelayedStage("process outputs", "output.process"),
        DelayedStage("detokenize", "output.detokenize"),
    )
}
DEFAULT = ("schedule", "prepare", "forward", "sample", "update", "process outputs")
# What a stage holds in one process: a delay in one of these is one in the stage. Dispatch holds what the worker does
# where that is in the core; to a worker that is a process of its own it only sends.
HOLDS = {
    "dispatch": ("execute", "prepare", "forward"),
    "execute": ("prepare", "forward"),
    "process outputs": ("detokenize",),
}


def stages_named(text: str) -> list[DelayedStage]:
    """The stages that a comma-separated list names, with spaces, `-` or `_` between a name's words; bad usage where
    there is none of a name."""
    names = [" ".join(name.replace("-", " ").replace("_", " ").split()) for name in text.split(",")]
    for name in names:
        if name not in STAGES:
            raise usage_error(f"no stage {name!r} can be delayed; there are {', '.join(STAGES)}")
    return [STAGES[name] for name in dict.fromkeys(names)]


def spins(stage: DelayedStage) -> bool:
    """Whether its delay takes a processor."""
    return stage.kind == SPINNING


def asleep(stage: DelayedStage) -> DelayedStage:
    """The stage with a delay that holds the GIL asleep where it would spin."""
    return replace(stage, kind=HOLDING) if spins(stage) else stage


def apart(stage: DelayedStage, pids: Sequence[int]) -> list[DelayedStage]:
    """A stage in the processes that have it: several front ends apart, since each has requests of its own; of several
    workers all together, as they work on the same step, and the first alone, which the others then wait for."""
    if len(pids) < 2:
        return [stage]
    alone = [replace(stage, name=f"{stage.name} in {pid}", pid=pid) for pid in pids]
    return alone if stage.role == "front end" else [stage, alone[0]]


def nested(pids: Mapping[str, Collection[int]]) -> tuple[str, ...]:
    """For each stage, named with the processes that have it, that holds others of them, a sentence that says so."""
    held = {
        name: [inner for inner in HOLDS.get(name, ()) if {*own}.intersection(pids.get(inner, ()))]
        for name, own in pids.items()
    }
    lines = (f"{name} holds {', '.join(inner)}: what they buy does not add up" for name, inner in held.items() if inner)
    return tuple(lines)
