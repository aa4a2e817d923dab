"""One metric of a run as an array: logarithms by start, round and cell, with NaN where there is no trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

CELL_AXES = ("batch_size", "cache_state", "input_len", "output_len", "shared_prefix_len", "temperature")
Levels = Mapping[str, object]  # an arm or a cell by its axes: {"block_size": 32, "prefix_caching": "on"}


@dataclass(frozen=True)
class Observations:
    """Logs of one metric, shape (..., starts, rounds, cells); leading axes hold simulated runs of one design.

    A start belongs to one arm and to one group, the set of engines that were alive together; a round visits a cell in
    every start of its group, back to back. `arm` and `group` number them for each start.
    """

    logs: np.ndarray
    arm: np.ndarray
    group: np.ndarray
    arms: tuple[Levels, ...]
    cells: tuple[Levels, ...]
    starts: tuple[int, ...] = ()  # the number of each start in the run

    @property
    def presence(self) -> np.ndarray:
        """Whether a start has a trial of a cell, shape (starts, cells)."""
        observed: np.ndarray = np.isfinite(self.logs).any(axis=-2)
        return np.asarray(observed.reshape(-1, *observed.shape[-2:]).all(axis=0))

    @property
    def arm_cells(self) -> np.ndarray:
        """Whether an arm has a cell, shape (arms, cells): of a start that was interrupted some may be missing."""
        return np.stack([self.presence[self.arm == arm].any(axis=0) for arm in range(len(self.arms))])

    def part(self, starts: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """The logs (..., starts, rounds, cells) of some starts and cells."""
        return self.logs[..., starts, :, :][..., cells]

    def classes(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Starts and cells, as two index arrays, such that the starts' arms have all of these cells.

        Warm cells exist in the arms that cache prefixes only: they are a class beside the cold ones.
        """
        patterns, numbers = np.unique(self.arm_cells.T, axis=0, return_inverse=True)
        for number in dict.fromkeys(numbers.ravel().tolist()):
            of_class = np.isin(self.arm, np.flatnonzero(patterns[number]))
            yield np.flatnonzero(of_class), np.flatnonzero(numbers.ravel() == number)


def observations(frame: pd.DataFrame, arm_axes: Sequence[str], metric: str) -> Observations:
    """The observations of `metric` in a frame of trials.

    Columns of `frame`: `arm`, `engine` (the start's number), `group`, `round`, the arms' axes, `CELL_AXES`, the metric.
    Values that are missing or not above zero have no logarithm and are left out.
    """
    values = pd.to_numeric(frame[metric], errors="coerce").astype(float)
    kept = frame.assign(log=np.log(values.where(values > 0))).dropna(subset=["log"])
    starts = kept.drop_duplicates("engine").sort_values("engine")
    arms = kept.drop_duplicates("arm").sort_values(list(arm_axes))
    cells = kept.drop_duplicates(list(CELL_AXES)).sort_values(list(CELL_AXES))
    keys = [tuple(row) for row in cells[list(CELL_AXES)].itertuples(index=False)]
    rounds = sorted(kept["round"].unique())
    logs = np.full((len(starts), len(rounds), len(keys)), np.nan)
    place = [
        [list(starts["engine"]).index(start) for start in kept["engine"]],
        [rounds.index(number) for number in kept["round"]],
        [keys.index(tuple(row)) for row in kept[list(CELL_AXES)].itertuples(index=False)],
    ]
    logs[tuple(np.array(place, dtype=int))] = kept["log"]
    return Observations(
        logs=logs,
        arm=np.array([list(arms["arm"]).index(name) for name in starts["arm"]], dtype=int),
        group=np.unique(starts["group"].to_numpy(dtype=int), return_inverse=True)[1],
        arms=tuple({name: row[name] for name in arm_axes} for _, row in arms.iterrows()),
        cells=tuple({name: row[name] for name in CELL_AXES} for _, row in cells.iterrows()),
        starts=tuple(int(start) for start in starts["engine"]),
    )


def varied(items: Sequence[Levels]) -> list[str]:
    """The axes in which arms or cells differ."""
    return [axis for axis in items[0] if len({str(item[axis]) for item in items}) > 1]


def levels(axis: str, items: Sequence[Levels]) -> list[object]:
    """The levels of an axis, in the order of the items."""
    return list(dict.fromkeys(item[axis] for item in items))


def joined_levels(item: Levels, axes: Sequence[str]) -> str:
    """`32+off`: the levels of an item on some axes."""
    return "+".join(str(item[axis]) for axis in axes)


def shared_label(items: Sequence[Levels], everything: Sequence[Levels]) -> str:
    """`batch_size=4 cache_state=cold`: what items share of the axes that vary in everything; `all` for nothing."""
    shared = [axis for axis in varied(everything) if len({str(item[axis]) for item in items}) == 1]
    return " ".join(f"{axis}={items[0][axis]}" for axis in shared) or "all"
