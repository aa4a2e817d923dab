"""All differences that a run can tell, in every metric, and what must be said beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from offline.differences.analysis import ERROR, estimate
from offline.differences.difference import METRICS, Difference, difference_rows
from offline.differences.estimates import best_arms
from offline.differences.observations import Levels, Observations, observations
from offline.differences.twogroups import two_groups

HEADLINE = "output_tok_s"
NOT_INTERLEAVED = (
    "Arms were measured one after another while the machine drifted past its bound: "
    "no difference between them is claimed."
)


@dataclass(frozen=True)
class Differences:
    """The differences of a run in one metric: main effects, then cells; and the best arms of each cell, with ties."""

    main: tuple[Difference, ...] = ()
    cells: tuple[Difference, ...] = ()
    best: tuple[tuple[Levels, Levels], ...] = ()  # (arm, cell)

    def __iter__(self) -> Iterator[Difference]:
        return iter((*self.main, *self.cells))


@dataclass(frozen=True)
class RunDifferences:
    """Differences by metric, and sentences to be read beside them."""

    by_metric: Mapping[str, Differences] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def rows(self) -> list[Difference]:
        """All rows, as `differences.csv` has them."""
        return [row for each in self.by_metric.values() for row in each]

    def is_best(self, metric: str, row: Mapping[str, object]) -> bool:
        """Whether a row of the table has a star: it is the best of its cell, or ties with it."""
        best = self.by_metric[metric].best if metric in self.by_metric else ()
        return any(all(row.get(axis) == level for axis, level in {**arm, **cell}.items()) for arm, cell in best)


def run_differences(frame: pd.DataFrame, arm_axes: Sequence[str], drifted: bool, in_turns: bool) -> RunDifferences:
    """The differences of a run's trials, as `offline.table.frames.read` has them.

    `arm_axes` names the columns in which arms differ. Where the machine `drifted` past its bound and engines did not
    take turns, differences between arms are left out, and a note says so; groups of starts are not looked for then.
    """
    if frame.empty:
        return RunDifferences()
    several = frame["arm"].nunique() > 1  # an only arm has nobody to take turns with
    steady = not drifted or (in_turns and several)
    by_metric = {
        metric: of_metric
        for metric in METRICS
        if (of_metric := differences(observations(frame, arm_axes, metric), metric, ERROR, steady))
    }
    notes = ([*alone(frame, arm_axes)] if steady else [NOT_INTERLEAVED]) if several else []
    splits = two_groups(observations(frame, arm_axes, HEADLINE)) if steady else []
    return RunDifferences(by_metric, (*notes, *(split.sentence() for split in splits)))


def alone(frame: pd.DataFrame, arm_axes: Sequence[str]) -> Iterator[str]:
    """Of each arm that was in no group with another one, as one that failed and was done again, that it has no rows."""
    arms = frame.groupby("group")["arm"].transform("nunique")
    for _, trials in frame.assign(arms=arms).groupby("arm"):
        if trials["arms"].max() == 1:
            name = " ".join(f"{axis}={trials[axis].iloc[0]}" for axis in arm_axes)
            yield f"{name} ran beside no other arm, so that it is not compared with them; a new run would do it."


def differences(measured: Observations, metric: str, error: float, between_arms: bool = True) -> Differences | None:
    """The differences of one metric; None where nothing is replicated."""
    estimates = estimate(measured, error, between_arms) if measured.logs.size else None
    if estimates is None:
        return None
    rows = list(zip(estimates.contrasts, difference_rows(estimates, metric), strict=True))
    return Differences(
        main=tuple(row for contrast, row in rows if contrast.main),
        cells=tuple(row for contrast, row in rows if not contrast.main),
        best=tuple(
            (measured.arms[arm], measured.cells[cell]) for arm, cell in sorted(best_arms(estimates, METRICS[metric]))
        ),
    )
