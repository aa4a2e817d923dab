"""Passes over the arms: which engines are alive together, and in what order their trials run.

A round visits a cell in every live engine, back to back, before the next cell: what the machine does meanwhile hits all
of them alike.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from offline.spec.grid import Arm, Cell, Trial, seed_of
from offline.spec.spec import Spec

CellIndex = tuple[str, int]  # what a trial is known by on disk: the id of its cell, and its index


class Lack(NamedTuple):
    """Trials of a cell that a pass still has to run."""

    timed: int
    recorded: int


@dataclass(frozen=True)
class Pass:
    """One start of each of some arms, and `repeats` rounds over their cells.

    `interleaved`: all engines are alive and take turns; else one is started when the one before it is gone.
    """

    number: int
    arms: tuple[Arm, ...]
    interleaved: bool

    def cells(self) -> list[tuple[Arm, Cell]]:
        """All cells of each arm."""
        return [(arm, cell) for arm in self.arms for cell in arm.cells]

    def rounds(self, spec: Spec) -> list[list[Trial]]:
        """The trials of each round: cells in an order drawn anew, each in all arms that have it, in a drawn order."""
        return [self._round(spec, self.number * spec.repeats + repeat) for repeat in range(spec.repeats)]

    def traced(self, spec: Spec) -> list[Trial]:
        """The round under the recorder, after all others, numbered as the pass; none where it was not asked for."""
        return self._round(spec, self.number, "traced ") if spec.trace else []

    def lacks(self, spec: Spec, cell: str, measured: Collection[CellIndex], traced: Collection[CellIndex]) -> Lack:
        """What is missing of a cell, by its id, beside the trials that are measured and recorded."""
        numbers = range(self.number * spec.repeats, (self.number + 1) * spec.repeats)
        timed = sum((cell, number) not in measured for number in numbers)
        return Lack(timed, int(spec.trace and (cell, self.number) not in traced))

    def _round(self, spec: Spec, index: int, kind: str = "") -> list[Trial]:
        draw = random.Random(f"{spec.seed}/round/{kind}{index}")
        cells = list(dict.fromkeys(cell for arm in self.arms for cell in arm.cells))
        trials = []
        for cell in draw.sample(cells, len(cells)):
            arms = draw.sample(alike := [arm for arm in self.arms if cell in arm.cells], len(alike))
            trials += [Trial(arm, cell, index, seed_of(spec, arm, cell, f"{kind}{index}")) for arm in arms]
        return trials


@dataclass(frozen=True)
class BegunStart:
    """One more start of some arms, as an adaptive run began it: the number of its pass that runs or ran last.

    `sets` are the ids of that pass's arms, then those of the arms that are still to be started.
    """

    number: int
    sets: tuple[tuple[str, ...], ...]


def passes(spec: Spec, grid: Sequence[Arm], alive: int) -> list[Pass]:
    """All passes of a run with `alive` engines at a time, so that every arm has `starts` starts or more."""
    arm_sets = [arms for start in range(spec.starts) for arms in start_of_each(spec, grid, alive, start)]
    return [one_pass(number, arms, alive) for number, arms in enumerate(arm_sets)]


def one_pass(number: int, arms: tuple[Arm, ...], alive: int) -> Pass:
    """The pass of a set of arms, which take turns where several engines are alive at a time."""
    return Pass(number, arms, interleaved=alive > 1 and len(arms) > 1)


def start_of_each(spec: Spec, grid: Sequence[Arm], alive: int, start: int) -> Iterator[tuple[Arm, ...]]:
    """The sets of arms that make one more start of each, of which `start` is the number.

    One engine at a time: all arms in a drawn order, every second time in its reverse, so that a drift that is linear
    falls out. Where some fit and not all: sets that share a reference arm, through which the others are compared.
    """
    ordered = sorted(grid, key=lambda arm: arm.id)
    if alive >= len(grid):
        yield tuple(ordered)
    elif alive == 1:
        random.Random(f"{spec.seed}/arms").shuffle(ordered)
        yield tuple(ordered if start % 2 == 0 else ordered[::-1])
    else:
        reference = reference_of(grid)
        others = [arm for arm in ordered if arm is not reference]
        random.Random(f"{spec.seed}/arms/{start}").shuffle(others)
        count = -(-len(others) // (alive - 1))
        yield from ((reference, *others[number::count]) for number in range(count))


def reference_of(grid: Sequence[Arm]) -> Arm:
    """The first arm with the most cells: through one without warm cells those of the others cannot be compared."""
    return max(grid, key=lambda arm: len(arm.cells))
