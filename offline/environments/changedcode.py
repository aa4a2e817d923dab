"""Why another version is slower or faster: the stages whose time changed, and the code on their paths that differs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from offline.budgets.reason import Reason
from offline.environments.environment import Environment
from offline.spec.grid import VLLM
from probes.errors import EnginescopeError
from tracing.breakdown.changes import StageChange
from tracing.sites.changed import ChangedFunction, changed_functions
from tracing.source.tree import SourceTree

NAMED = 3  # functions of a sentence
REQUEST = "request"  # of the parts of a reason the one that has stages: a step has phases


@dataclass(frozen=True)
class ChangedStage:
    """A stage of a request whose time changed from one environment to another, and what differs on its path.

    `functions` is None where the sources can no longer be read.
    """

    before: str
    after: str
    change: StageChange
    functions: tuple[ChangedFunction, ...] | None

    @property
    def sentence(self) -> str:
        """`0.31.0 → 0.32.0, schedule +2.00 ms (…): on its path Scheduler.schedule and 3 more differ, …`"""
        return f"{self.before} → {self.after}, {self.change.sentence}: {self._differing()}"

    def _differing(self) -> str:
        if self.functions is None:
            return "the sources are no longer there to be compared."
        if not self.functions:
            return "no function that is known to be on its path differs."
        names = ", ".join(name(each) for each in self.functions[:NAMED])
        more = f" and {len(self.functions) - NAMED} more" if len(self.functions) > NAMED else ""
        return f"on its path these functions differ, the nearest first: {names}{more}."


def name(function: ChangedFunction) -> str:
    """`Scheduler.schedule`."""
    return function.target.partition(":")[2]


def changed_stages(
    reasons: Iterable[Reason], environments: Mapping[str, Environment], v2_runner: bool | None = None
) -> Iterator[ChangedStage]:
    """The stages of a request that changed beyond their intervals between environments, the largest change first.

    `v2_runner`: whether Model Runner V2 ran, where it is known.
    """
    for reason in reasons:
        row = reason.difference
        if row.axis == VLLM and reason.part == REQUEST and reason.changed:
            trees = [source(environments.get(label)) for label in (row.from_, row.to)]
            for change in reason.changed:
                yield ChangedStage(row.from_, row.to, change, _functions(change.stage, v2_runner, *trees))


def source(environment: Environment | None) -> SourceTree | None:
    """The source of an environment's vLLM; None where it is gone."""
    try:
        return SourceTree.find(Path(environment.source).expanduser()) if environment else None
    except EnginescopeError:
        return None


def _functions(
    stage: str, v2_runner: bool | None, old: SourceTree | None, new: SourceTree | None
) -> tuple[ChangedFunction, ...] | None:
    return tuple(changed_functions(stage, old, new, v2_runner)) if old and new else None
