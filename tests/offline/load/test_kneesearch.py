"""Where a search for the knee begins: at what is asked for, at what one at a time gave, or where its budget lets it."""

from __future__ import annotations

import math

import pytest

from offline.load.kneesearch import KneeSearch, start_rate
from offline.load.records import MeasuredRate
from offline.traffic.backlog import NOT_SUSTAINED, SUSTAINED
from offline.traffic.knee import RateTrial

S = 1_000_000_000
ALONE = MeasuredRate("v", 1, None, 5 * S, 20 * S, 25 * S, 150, 10, 10, 0, 0, True)  # ten requests in 20 s


@pytest.mark.parametrize(
    ("rates", "alone", "left_s", "rate"),
    [
        ((4.0, 8.0), ALONE, 600.0, 4.0),
        ((), ALONE, math.inf, 8.0),  # 16 times 0.5 a second
        ((), None, math.inf, 16.0),
        ((), ALONE, 1000.0, 8.0),
        ((), ALONE, 100.0, 18.0),  # 450 requests at 8 a second would take a minute, and 100 s are left
        ((), ALONE, -1.0, 8.0),
    ],
)
def test_where_a_search_begins(
    rates: tuple[float, ...], alone: MeasuredRate | None, left_s: float, rate: float
) -> None:
    assert start_rate(rates, alone, 450, left_s) == rate


@pytest.mark.parametrize(
    ("verdicts", "limit"),
    [
        ({10.0: SUSTAINED, 11.0: NOT_SUSTAINED}, ""),
        ({10.0: SUSTAINED, 20.0: NOT_SUSTAINED}, "; 29,040 requests do not tell the rates between"),
    ],
)
def test_a_wide_bracket_says_why_it_is_no_narrower(verdicts: dict[float, str], limit: str) -> None:
    trials = [RateTrial(rate, 1815, verdict) for rate, verdict in verdicts.items()]
    search = KneeSearch(prepared=None, alone=None, left_s=0.0, trials=trials)  # type: ignore[arg-type]
    search.scatter = 1.0  # of Poisson arrivals
    assert search.limit == limit
