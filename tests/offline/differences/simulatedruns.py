"""Runs of a known truth, drawn from a seed: equal arms, with spreads, drift and stalls as a machine may have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import beta

from offline.compare.comparison import Pair, estimate_pairs
from offline.differences.analysis import estimate
from offline.differences.estimates import POWER, Contrast, Estimates
from offline.differences.observations import Levels, Observations
from offline.table.statistics import DRIFT_BOUND

BLOCK_SIZES = (32, 64, 128)
BATCH_SIZES = (1, 4, 8, 16)
DRIFT = 0.30
STALL = 1.5
STALL_SHARE = 0.10
KERNEL_SPREAD = 0.02
FAR = 100.0  # in logarithms: beyond any difference
TRUE_DIFFERENCE = 0.10
KINDS = ("main effect", "cold cell", "warm cell", "inside starts")
LOOK_ROUNDS = (2, 3, 4, 5, 6, 8, 10, 12)  # of an adaptive run


@dataclass(frozen=True)
class Setting:
    """What is simulated: spreads are standard deviations of logarithms; every group of starts has all arms."""

    start_spread: float
    trial_spread: float
    drift: str = "none"  # or linear, step: 30 % over the run
    stalls: bool = False  # one trial in ten takes 1.5 times as long
    moved: float = 0.0  # spread of the machine from run to run
    wild: float = 1.0  # how many times as much as the others' the starts of the last arm scatter
    noisy: float = 1.0  # how many times as much as in the others starts scatter in one cell
    noisy_cell: int = 0  # number of that cell: the first is cold, the last warm
    starts: int = 2  # of each arm
    rounds: int = 3
    groups: int = 2
    block_sizes: tuple[int, ...] = BLOCK_SIZES
    caching: tuple[str, ...] = ("off", "on")
    batch_sizes: tuple[int, ...] = BATCH_SIZES

    @property
    def arms(self) -> tuple[Levels, ...]:
        """Block sizes with and without prefix caching."""
        return tuple(
            {"block_size": block, "prefix_caching": caching} for caching in self.caching for block in self.block_sizes
        )

    @property
    def cells(self) -> tuple[Levels, ...]:
        """Batch sizes, cold in all arms and warm in those that cache."""
        states = ("cold", "warm") if "on" in self.caching else ("cold",)
        return tuple({"batch_size": b, "cache_state": state} for state in states for b in self.batch_sizes)


def simulate(setting: Setting, runs: int, seed: int) -> Observations:
    """Null runs (runs, starts, rounds, cells): logs of throughput, in which no arm and no cell differs."""
    return simulate_with_kernel(setting, runs, seed)[0]


def simulate_with_kernel(setting: Setting, runs: int, seed: int) -> tuple[Observations, np.ndarray]:
    """Null runs, and the logs of the reference kernel's times beside each trial, which scatter by `KERNEL_SPREAD`."""
    rng = np.random.default_rng(seed)
    arms, cells = setting.arms, setting.cells
    arm = np.tile(np.arange(len(arms)), setting.starts)
    shape = (runs, len(arm), setting.rounds, len(cells))
    spreads = setting.start_spread * np.where(arm == len(arms) - 1, setting.wild, 1.0)[:, None, None]
    of_cell = np.ones(len(cells))
    of_cell[setting.noisy_cell] = setting.noisy
    logs = rng.normal(0, spreads, (runs, len(arm), 1, 1)) * of_cell + rng.normal(0, setting.trial_spread, shape)
    if setting.stalls:
        logs -= np.log(STALL) * (rng.random(shape) < STALL_SHARE)
    slower = _machine(setting, rng, shape)
    if setting.moved:
        slower = slower + rng.normal(0, setting.moved, (runs, 1, 1, 1))
    absent = np.array([[a["prefix_caching"] == "off" and c["cache_state"] == "warm" for c in cells] for a in arms])[arm]
    slower[:, absent.nonzero()[0], :, absent.nonzero()[1]] = np.nan
    group, numbers = np.arange(len(arm)) * setting.groups // len(arm), tuple(range(len(arm)))
    kernel = slower + rng.normal(0, KERNEL_SPREAD, shape)
    return Observations(logs - slower, arm, group, arms, cells, numbers), kernel


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


@dataclass(frozen=True)
class Outcome:
    """What came of some null runs: shares of 1."""

    runs: int
    false_runs: int  # runs with a difference in the table, of which there is none in truth
    found: dict[str, float]  # by kind of row, how often a true 10 % is found
    detectable: dict[
        str, tuple[float, float]
    ]  # smallest_detectable's median over the true one, in logs: lowest, highest

    @property
    def false_share(self) -> float:
        """Share of the runs with a false difference."""
        return self.false_runs / self.runs

    @property
    def false_lower_bound(self) -> float:
        """The 95 % lower bound of that share (Clopper and Pearson 1934)."""
        return float(beta.ppf(0.05, self.false_runs, self.runs - self.false_runs + 1)) if self.false_runs else 0.0


def outcome(estimates: Estimates) -> Outcome:
    """What is told in null runs, and what would be told with a true difference, which moves estimates and no error."""
    shortfall = estimates.half_width - estimates.log_ratio  # a true difference above this is found in the run
    truth = np.quantile(shortfall, POWER, axis=0)
    ratios = np.median(estimates.smallest_detectable(), axis=0) / truth
    found = (shortfall < np.log1p(TRUE_DIFFERENCE)).mean(axis=0)
    kinds = np.array([kind(contrast) for contrast in estimates.contrasts])
    return Outcome(
        runs=len(shortfall),
        false_runs=int(estimates.significant.any(axis=-1).sum()),
        found={each: float(found[kinds == each].min()) for each in KINDS if each in kinds},
        detectable={
            each: (float(ratios[kinds == each].min()), float(ratios[kinds == each].max()))
            for each in KINDS
            if each in kinds
        },
    )


def kind(contrast: Contrast) -> str:
    """The kind of a row: one of `KINDS`."""
    if contrast.axis in ("batch_size", "cache_state"):
        return "inside starts"
    if contrast.main:
        return "main effect"
    return "warm cell" if "warm" in contrast.cell else "cold cell"


def until(setting: Setting, runs: int, seed: int, half_width: float) -> tuple[Outcome, float]:
    """The outcome of adaptive null runs, each stopped at the first of its looks that is precise enough, and the mean
    number of rounds that they took."""
    measured = simulate(replace(setting, rounds=LOOK_ROUNDS[-1]), runs, seed)
    looks = [replace(measured, logs=measured.logs[:, :, :rounds]) for rounds in LOOK_ROUNDS]
    result, place = _stopped(looks, half_width)
    return result, float(np.mean(np.array(LOOK_ROUNDS)[place]))


def until_starts(setting: Setting, runs: int, seed: int, half_width: float) -> tuple[Outcome, float]:
    """The same of runs that add starts: a look after each from the second on, at most as many as the setting has."""
    measured = simulate(replace(setting, groups=setting.starts), runs, seed)
    looks = []
    for starts in range(2, setting.starts + 1):
        kept = measured.group < starts
        looks.append(replace(measured, logs=measured.logs[:, kept], arm=measured.arm[kept], group=measured.group[kept]))
    result, place = _stopped(looks, half_width)
    return result, float(np.mean(2 + place))


def _stopped(looks: Sequence[Observations], half_width: float) -> tuple[Outcome, np.ndarray]:
    """What is told of runs that stop at the first look that is precise enough, else at the last, and at which each
    does."""
    estimated = [estimates for look in looks if (estimates := estimate(look))]
    main = [i for i, contrast in enumerate(estimated[0].contrasts) if contrast.main]
    precise = np.stack([np.expm1(each.half_width[:, main].max(axis=1)) <= half_width for each in estimated[:-1]])
    place = np.where(precise.any(axis=0), precise.argmax(axis=0), len(estimated) - 1)
    names = ("log_ratio", "standard_error", "degrees", "critical")
    every = {name: np.stack([getattr(each, name) for each in estimated]) for name in names}
    stopped = {name: values[place, np.arange(len(place))] for name, values in every.items()}
    return outcome(Estimates(estimated[0].contrasts, **stopped)), place


def compared(setting: Setting, runs: int, seed: int) -> Outcome:
    """The outcome of comparisons of null runs of different times; where the machine moved too far nothing is told."""
    sides = [simulate_with_kernel(setting, runs, seed + side) for side in (0, 1)]
    design = sides[0][0]
    places = [(arm, cell) for arm in range(len(design.arms)) for cell in np.flatnonzero(design.presence[arm])]
    pairs = []
    for arm, cell in places:
        logs = [measured.logs[:, design.arm == arm][..., cell] for measured, _ in sides]
        kernels = [kernel[:, design.arm == arm][..., cell].mean(axis=(1, 2)) for _, kernel in sides]
        pairs.append(Pair(str(arm), str(cell), f"{arm} {cell}", logs[0], logs[1], kernels[1] - kernels[0]))
    estimates = estimate_pairs(pairs)
    assert estimates is not None
    medians = [np.nanmedian(kernel, axis=(1, 2, 3)) for _, kernel in sides]
    far = np.abs(medians[1] - medians[0]) > np.log1p(DRIFT_BOUND)
    return outcome(replace(estimates, allowance=np.where(far[:, None], FAR, estimates.allowance)))
