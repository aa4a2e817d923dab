"""Which functions on a stage's path differ between two trees of vLLM, the stage's own first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tracing.source.calls import calls
from tracing.source.definitions import Place
from tracing.source.likeness import same_code
from tracing.source.tree import SourceTree

from .engine import SITES
from .worker import RUNNER_V1, RUNNER_V2

FARTHEST = 3  # calls from a function of the stage
WIDEST = 400  # functions that are looked at
# What the targets of each model runner begin with, by whether it is V2: the one is a module, the other has a package.
RUNNERS = {False: RUNNER_V1.partition(":")[0] + ":", True: RUNNER_V2.rpartition(".")[0] + "."}


@dataclass(frozen=True)
class ChangedFunction:
    """A function whose code differs; `distance` counts calls from the stage's own functions. None: it is not there."""

    target: str
    distance: int
    before: Place | None
    after: Place | None


def changed_functions(
    stage: str, old: SourceTree, new: SourceTree, v2_runner: bool | None = None
) -> list[ChangedFunction]:
    """The functions that differ on the path of a stage: those that are hooked for it, then what these call.

    What is hooked for another stage is that stage's own, with all that it calls. Empty for a stage without functions.
    `v2_runner`: whether Model Runner V2 ran; what is the other runner's is left out, or nothing where it is not known.
    """
    differing = []
    for target, distance in path(stage, v2_runner, old, new):
        before, after = (tree.find_place(target) for tree in (old, new))
        if before is None or after is None or not same_code(before, after):
            differing.append(ChangedFunction(target, distance, before, after))
    return differing


def path(stage: str, v2_runner: bool | None, *trees: SourceTree) -> Iterator[tuple[str, int]]:
    """The functions of a stage that are in any of the trees, and what they call there, the nearest first."""
    other = None if v2_runner is None else RUNNERS[not v2_runner]
    own = [target for site in SITES if site.stage == stage for target in site.targets]
    passed = {target for site in SITES if site.stage != stage for target in site.targets} - set(own)
    row, distance = own, 0
    while row and distance <= FARTHEST and len(passed) < WIDEST:
        ran = [target for target in row if not other or not target.startswith(other)]
        there = [target for target in ran if any(tree.find_place(target) for tree in trees)]
        yield from ((target, distance) for target in there)
        passed.update(row)
        every = (name for target in there for tree in trees for name in calls(tree, target))
        row, distance = [name for name in dict.fromkeys(every) if name not in passed], distance + 1
