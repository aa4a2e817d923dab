"""How much effort an adaptive run spends: the precision it goes for, and the time that it may take."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

UNITS_S = {"ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
BUDGET_S = 600.0


@dataclass(frozen=True)
class Effort:
    """Go on until the widest main effect on output throughput is within ± `until` (a share), or `budget_s` is used.

    The planned starts and trials are the least that is run.
    """

    until: float = 0.0
    budget_s: float = BUDGET_S


def share(text: str) -> float:
    """argparse type: `3%` or `0.03` as 0.03."""
    try:
        value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a share such as 3%, not {text!r}") from None
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a share between 0 and 100 %, not {text!r}")
    return value


def duration(text: str) -> float:
    """argparse type: `90`, `90s`, `500ms`, `10m`, `10min` or `4h` as seconds."""
    number = text.strip().rstrip("himns ")
    try:
        value = float(number) * UNITS_S[text.strip().removeprefix(number).strip()]
    except (ValueError, KeyError):
        raise argparse.ArgumentTypeError(f"expected a time such as 90s, 10min or 4h, not {text!r}") from None
    if not 0 < value < 1e7:
        raise argparse.ArgumentTypeError(f"expected a time above zero, not {text!r}")
    return value
