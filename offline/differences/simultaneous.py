"""Intervals that hold together: critical values for the largest of many |t|.

Hothorn, Bretz and Westfall, "Simultaneous inference in general parametric models" (2008), for the multivariate t.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from scipy.special import gammaincinv, stdtrit

DRAWS = 200_000
QUANTILES = 2_000
SEED = 20260101
PRECISION = 1e-4


def multivariate_t(blocks: Sequence[np.ndarray], degrees: int, error: float) -> float:
    """c with P(max |t| > c) = `error`, where all t share one standard deviation with `degrees` of freedom.

    Each block is the correlation matrix (n, n) of some contrasts. Between blocks the numerators are taken as
    independent, which is never too narrow (Royen's Gaussian correlation inequality). The distribution of a block's
    largest |z| is simulated with a fixed seed, the one of the standard deviation integrated by quantiles.
    """
    keys: dict[tuple[int, bytes], int] = {}
    for block in blocks:
        key = (len(block), np.ascontiguousarray(block.round(9)).tobytes())
        keys[key] = keys.get(key, 0) + 1
    return _multivariate_t(tuple(sorted(keys.items())), degrees, error)


@functools.lru_cache(maxsize=256)
def _multivariate_t(blocks: tuple[tuple[tuple[int, bytes], int], ...], degrees: int, error: float) -> float:
    deviations = np.sqrt(chi_squared((np.arange(QUANTILES) + 0.5) / QUANTILES, degrees) / degrees)
    largest = [(_largest(size, data), count) for (size, data), count in blocks]

    def excess(critical: float) -> float:
        below = np.ones(QUANTILES)
        for values, count in largest:
            below *= (np.searchsorted(values, critical * deviations, side="right") / len(values)) ** count
        return float(1 - below.mean() - error)

    low, high = 0.0, 1e4
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return high


@functools.lru_cache(maxsize=64)
def _largest(size: int, data: bytes) -> np.ndarray:
    """Sorted draws of the largest |z| of contrasts with a correlation matrix."""
    values, vectors = np.linalg.eigh(np.frombuffer(data).reshape(size, size))
    kept = values > 1e-9
    root = vectors[:, kept] * np.sqrt(values[kept])
    draws = np.random.default_rng(SEED).standard_normal((DRAWS, int(kept.sum())))
    return np.sort(np.abs(draws @ root.T).max(axis=1))


def bonferroni(count: int, degrees: np.ndarray, error: float) -> np.ndarray:
    """Critical values for `count` contrasts, each with a standard deviation and degrees of freedom of its own."""
    return np.asarray(stdtrit(degrees, 1 - error / (2 * max(count, 1))))


def chi_squared(share: np.ndarray | float, degrees: np.ndarray | float) -> np.ndarray:
    """Quantiles of χ² (scipy.stats has them too, and takes a second to load)."""
    return np.asarray(2 * gammaincinv(np.asarray(degrees) / 2, share))
