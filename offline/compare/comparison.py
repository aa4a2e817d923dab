"""Two runs, cell by cell: ratios with intervals that hold together, and why a cell cannot be compared."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from offline.compare.runs import ComparedRun, unlikeness
from offline.differences.analysis import ERROR
from offline.differences.between import Comparison, simultaneous
from offline.differences.difference import Difference, difference_rows
from offline.differences.estimates import Contrast, Estimates
from offline.differences.leastsquares import fit_apart
from offline.table.statistics import DRIFT_BOUND

NOT_COMPARABLE = "not comparable"
FORCED = "forced"
KERNELS = ("gpu_reference_s", "reference_s")  # the first that was timed beside all trials of both runs
HEADINGS = ("cell", "run", "ratio", "95 % interval", "verdict")
NO_REPLICATES = "one start of each arm: nothing is known of the spread between starts"


@dataclass(frozen=True)
class Pair:
    """A cell of an arm that two runs have: logs (..., starts, rounds) of each, of a metric and of the kernel beside it.

    `cell` is the same for all arms that have it, `label` names arm and cell.
    """

    arm: str
    cell: str
    label: str
    before: np.ndarray
    after: np.ndarray
    kernel: np.ndarray  # (...): how much slower the kernel was in the second run, in logarithms


def compare(
    a: ComparedRun, b: ComparedRun, axes: Collection[str], metric: str, force: bool = False
) -> list[Difference]:
    """Run B against run A in a metric: all cells together, then each one; what cannot be compared says why.

    With `force` unlike runs are compared too, and every verdict names what differs.
    """
    axis = "+".join(axes) or "run"
    labels = {**b.labels, **a.labels}
    shared = [key for key in a.labels if key in b.labels]
    reasons = unlikeness(a.record, b.record, axes) or drift_reasons(a, b, shared)
    rows = [] if (reasons and not force) or not shared else _compared(a, b, shared, axis, metric)
    if reasons:
        rows = [replace(row, verdict=f"{row.verdict} ({FORCED}: {'; '.join(reasons)})") for row in rows]
    if shared and not rows:
        why = "; ".join(reasons) or NO_REPLICATES
        rows = [_refused(a, b, axis, labels[key], metric, why) for key in shared]
    unmatched = [(key, run) for run, other in ((a, b), (b, a)) for key in run.labels if key not in other.labels]
    return rows + [_refused(a, b, axis, labels[key], metric, f"only in {run.name}") for key, run in unmatched]


def kernel_of(a: ComparedRun, b: ComparedRun) -> str:
    """The column of the reference kernel that tells how the machine moved: on the GPU where both runs have it."""
    both = [name for name in KERNELS if all(run.trials[name].notna().all() for run in (a, b))]
    return both[0]


def drift_reasons(a: ComparedRun, b: ComparedRun, shared: Sequence[str]) -> list[str]:
    """`["the machine moved by 12 %"]` where the reference kernels of two runs differ past the bound."""
    kernel = kernel_of(a, b)
    medians = [run.trials.loc[run.trials["key"].isin(shared), kernel].astype(float).median() for run in (a, b)]
    movement = abs(math.log(medians[1] / medians[0])) if shared else 0.0
    return [f"the machine moved by {math.expm1(movement):.0%}"] if movement > math.log1p(DRIFT_BOUND) else []


def _compared(a: ComparedRun, b: ComparedRun, shared: Sequence[str], axis: str, metric: str) -> list[Difference]:
    estimates = estimate_pairs([cell_pair(a, b, key, metric) for key in shared])
    if estimates is None:
        return []
    rows = difference_rows(estimates, metric)
    return [replace(row, axis=axis, from_=a.name, to=b.name) for row in rows]


def cell_pair(a: ComparedRun, b: ComparedRun, key: str, metric: str) -> Pair:
    """A cell in both runs."""
    before, after = (_logs(run, key, metric) for run in (a, b))
    kernels = [float(np.nanmean(_logs(run, key, kernel_of(a, b)))) for run in (a, b)]
    arm = a.arms[key]
    return Pair(arm, key.removeprefix(arm), a.labels[key], before, after, np.asarray(kernels[1] - kernels[0]))


def _logs(run: ComparedRun, key: str, metric: str) -> np.ndarray:
    """Shape (starts of the cell's arm, rounds of the run), with gaps."""
    starts = sorted(run.trials.loc[run.trials["arm_key"] == run.arms[key], "engine"].unique())
    cell = run.trials[run.trials["key"] == key].astype({metric: float})
    table = cell.pivot_table(index="engine", columns="round", values=metric)
    return np.log(table.reindex(index=starts, columns=sorted(run.trials["round"].unique())).to_numpy(dtype=float))


def estimate_pairs(pairs: Sequence[Pair]) -> Estimates | None:
    """The ratios of all cells together and of each one, cell by cell in all of its arms, which hold together.

    None where no arm has a second start. The variance of starts is pooled over arms, runs and cells, with the degrees
    of freedom of the starts, but for a cell or an arm whose starts scatter more (`ownvariance`). The runs did not take
    turns, so each interval is widened by how much the kernel beside these very trials moved.
    """
    cells = [[pair for pair in pairs if pair.cell == cell] for cell in dict.fromkeys(pair.cell for pair in pairs)]
    means, one = _mean_over_cells(pairs), len(pairs) == 1
    mean = np.tile([-1.0, 1.0], len(means)) / len(means)
    overall = _comparison(means, ("all",), mean[None], main=True)
    single = [
        _comparison(cell, [pair.label for pair in cell], np.kron(np.eye(len(cell)), [-1.0, 1.0]), main=False)
        for cell in cells
    ]
    estimates = simultaneous([overall], [] if one else single, ERROR)
    if estimates is None:
        return None
    return replace(estimates, allowance=_allowance(np.stack([pair.kernel for cell in cells for pair in cell], axis=-1)))


def _allowance(movements: np.ndarray) -> np.ndarray:
    """What the machine may have moved (..., rows), for all cells together and for each, from its kernel in each cell.

    That is the movement over all cells, and no less than a cell's own, and two standard errors of the former.
    """
    count = movements.shape[-1]
    if count == 1:
        return np.abs(movements)
    overall = np.abs(movements.mean(axis=-1, keepdims=True))
    doubt = 2 * movements.std(axis=-1, ddof=1, keepdims=True) / np.sqrt(count)
    return doubt + np.concatenate([overall, np.maximum(overall, np.abs(movements))], axis=-1)


def _comparison(pairs: Sequence[Pair], labels: Sequence[str], vectors: np.ndarray, main: bool) -> Comparison:
    """The second run against the first one: contrasts (labels, 2 · pairs) of each pair before and after."""
    logs = [each for pair in pairs for each in (pair.before, pair.after)]
    rounds = max(each.shape[-1] for each in logs)
    padded = [_padded(each, rounds) for each in logs]
    arm = np.repeat(np.arange(len(logs)), [each.shape[-2] for each in logs])
    fit = fit_apart(np.concatenate(padded, axis=-2), arm, len(logs), alike=arm // 2)
    return Comparison(fit, tuple(Contrast("run", "", "", label, main) for label in labels), vectors)


def _padded(logs: np.ndarray, rounds: int) -> np.ndarray:
    gap = [(0, 0)] * (logs.ndim - 1) + [(0, rounds - logs.shape[-1])]
    return np.pad(logs, gap, constant_values=np.nan)


def _mean_over_cells(pairs: Sequence[Pair]) -> list[Pair]:
    """Each arm's mean over its cells, start by start and round by round."""
    means = []
    for arm in dict.fromkeys(pair.arm for pair in pairs):
        of_arm = [pair for pair in pairs if pair.arm == arm]
        before, after = (np.mean([getattr(pair, side) for pair in of_arm], axis=0) for side in ("before", "after"))
        means.append(replace(of_arm[0], before=before, after=after))
    return means


def _refused(a: ComparedRun, b: ComparedRun, axis: str, cell: str, metric: str, why: str) -> Difference:
    ratio = lo = hi = detectable = math.nan
    return Difference(axis, a.name, b.name, cell, metric, ratio, lo, hi, detectable, f"{NOT_COMPARABLE} ({why})")


def cells_of(row: Difference) -> list[str]:
    """A row as `HEADINGS` has it."""
    if math.isnan(row.ratio):
        return [row.cell, row.to, "", "", row.verdict]
    return [row.cell, row.to, f"{row.ratio:.3f}", row.interval, row.sentence]


def answer(rows: Sequence[Difference]) -> str:
    """A run against the base in a sentence: what its first row says, which is that of all cells where there is one."""
    row = rows[0]
    names = f"{row.to} against {row.from_}"
    if math.isnan(row.ratio):
        return f"{names}: {row.verdict}."
    return f"{names}, all cells together: {row.metric} {row.ratio:.3f} of before ({row.interval}): {row.sentence}."
