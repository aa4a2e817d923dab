"""Runs of a known truth, drawn from a seed: equal arms, with spreads, drift and stalls as a machine may have them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from offline.differences.observations import Levels, Observations

BLOCK_SIZES = (32, 64, 128)
BATCH_SIZES = (1, 4, 8, 16)
DRIFT = 0.30
STALL = 1.5
STALL_SHARE = 0.10


@dataclass(frozen=True)
class Setting:
    """What is simulated: spreads are standard deviations of logarithms; every group of starts has all arms."""

    start_spread: float
    trial_spread: float
    drift: str = "none"  # or linear, step: 30 % over the run
    stalls: bool = False  # one trial in ten takes 1.5 times as long
    starts: int = 2  # of each arm
    rounds: int = 3
    groups: int = 2
    block_sizes: tuple[int, ...] = BLOCK_SIZES
    batch_sizes: tuple[int, ...] = BATCH_SIZES

    @property
    def arms(self) -> tuple[Levels, ...]:
        """Block sizes with and without prefix caching."""
        return tuple(
            {"block_size": block, "prefix_caching": caching} for caching in ("off", "on") for block in self.block_sizes
        )

    @property
    def cells(self) -> tuple[Levels, ...]:
        """Batch sizes, cold in all arms and warm in those that cache."""
        return tuple({"batch_size": b, "cache_state": state} for state in ("cold", "warm") for b in self.batch_sizes)


def simulate(setting: Setting, runs: int, seed: int) -> Observations:
    """Null runs (runs, starts, rounds, cells): logs of throughput, in which no arm and no cell differs."""
    rng = np.random.default_rng(seed)
    arms, cells = setting.arms, setting.cells
    arm = np.tile(np.arange(len(arms)), setting.starts)
    shape = (runs, len(arm), setting.rounds, len(cells))
    logs = rng.normal(0, setting.start_spread, (runs, len(arm), 1, 1)) + rng.normal(0, setting.trial_spread, shape)
    if setting.stalls:
        logs -= np.log(STALL) * (rng.random(shape) < STALL_SHARE)
    logs -= _machine(setting, rng, shape)
    absent = np.array([[a["prefix_caching"] == "off" and c["cache_state"] == "warm" for c in cells] for a in arms])[arm]
    logs[:, absent.nonzero()[0], :, absent.nonzero()[1]] = np.nan
    return Observations(
        logs, arm, np.arange(len(arm)) * setting.groups // len(arm), arms, cells, tuple(range(len(arm)))
    )


def _machine(setting: Setting, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """How much slower the machine is at each trial, in logarithms: rounds visit each cell in all live starts."""
    runs, starts, rounds, cells = shape
    live = starts // setting.groups
    cell = np.argsort(rng.random((runs, setting.groups, 1, rounds, cells)), axis=-1)
    start = np.argsort(rng.random((runs, setting.groups, live, rounds, cells)), axis=2)
    group, number = np.arange(setting.groups)[:, None, None, None], np.arange(rounds)[:, None]
    place = ((group * rounds + number) * cells + cell) * live + start
    time = ((place + 0.5) / (starts * rounds * cells)).reshape(shape)
    if setting.drift == "linear":
        return np.log1p(DRIFT * time)
    if setting.drift == "step":
        return np.log1p(DRIFT) * (time > rng.random((runs, 1, 1, 1)))
    return np.zeros(shape)
