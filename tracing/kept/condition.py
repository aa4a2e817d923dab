"""What makes a trigger fire, as it is written on a command line: `ttft > 1s`, `latency > p99 * 2`, `preempted`."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from probes.errors import EnginescopeError, usage_error

Quantity = Literal["ttft", "latency", "itl", "step", "stuck"]
Occurrence = Literal["preempted", "error"]
QUANTITIES, OCCURRENCES = get_args(Quantity), get_args(Occurrence)
UNITS_NS = {"us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
LIMIT = re.compile(r"(\w+)\s*>\s*(\d+(?:\.\d+)?)\s*(us|µs|ms|s)")
QUANTILE = re.compile(r"(\w+)\s*>\s*p(\d+(?:\.\d+)?)(?:\s*\*\s*(\d+(?:\.\d+)?))?")
WINDOW, LEAST = 1000, 200  # values that a quantile is taken of, and how many it takes before it says anything
RENEWED = 50  # after so many values the quantile is worked out again


@dataclass(frozen=True)
class TimeLimit:
    """A length of time that is too long."""

    text: str
    quantity: Quantity
    limit_ns: int


@dataclass(frozen=True)
class QuantileLimit:
    """A multiple of a quantile (0 to 1) of the same quantity's last values."""

    text: str
    quantity: Quantity
    quantile: float
    factor: float


@dataclass(frozen=True)
class Happening:
    """Something that is enough by itself."""

    text: str
    what: Occurrence


Condition = TimeLimit | QuantileLimit | Happening


def parse(text: str) -> Condition:
    """Read one condition; a usage error where it is none.

    | typed               | means                                                                  |
    | ------------------- | ---------------------------------------------------------------------- |
    | `ttft > 1s`         | more than a second to the first output (also `latency`, `itl`, `step`) |
    | `stuck > 30s`       | no step begun for so long, though a call goes on                       |
    | `latency > p99 * 2` | more than twice the 99th percentile of the last 1,000                  |
    | `preempted`         | a request lost its KV cache to another (also `error`)                  |
    """
    words = " ".join(text.split())
    if match := LIMIT.fullmatch(words):
        return TimeLimit(words, _quantity(match[1]), round(float(match[2]) * UNITS_NS[match[3]]))
    if match := QUANTILE.fullmatch(words):
        if match[1] == "stuck":
            raise usage_error(f"{text!r}: a hang has no percentiles: give a time, as in --keep 'stuck > 30s'")
        if not 0 < float(match[2]) < 100:
            raise usage_error(f"{text!r}: p{match[2]} is no percentile between 0 and 100")
        return QuantileLimit(words, _quantity(match[1]), float(match[2]) / 100, float(match[3] or 1))
    for what in OCCURRENCES:
        if words == what:
            return Happening(words, what)
    raise _unknown(text)


def _quantity(name: str) -> Quantity:
    for quantity in QUANTITIES:
        if name == quantity:
            return quantity
    raise _unknown(name)


def _unknown(text: str) -> EnginescopeError:
    known = f"{', '.join(QUANTITIES)} > TIME, or > p99 * 2 (but for stuck); {', '.join(OCCURRENCES)}"
    return usage_error(f"{text!r} is no condition: {known}; as in --keep 'ttft > 1s'")


@dataclass
class Recent:
    """The last values of a quantity, and their quantile."""

    quantile: float
    values: deque[int] = field(default_factory=lambda: deque(maxlen=WINDOW))
    count: int = 0
    known_ns: float | None = None

    def exceeds(self, value_ns: int, factor: float) -> bool:
        """Whether a value is more than the multiple of the quantile of those before it; they take it in then."""
        if self.count >= LEAST and (self.known_ns is None or self.count % RENEWED == 0):
            self.known_ns = float(np.quantile(self.values, self.quantile))
        exceeds = self.known_ns is not None and value_ns > factor * self.known_ns
        self.values.append(value_ns)
        self.count += 1
        return exceeds
