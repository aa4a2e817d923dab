"""Whether a rate is sustained: the backlog of 4N requests, by hand and on servers of known capacity."""

from __future__ import annotations

import math

import numpy as np
import pytest

from offline.traffic.backlog import Backlog, backlog, needed_requests
from tests.offline.traffic.servers import SERVERS, simulated_backlog


def test_the_backlog_by_hand() -> None:
    """Eight requests a second apart on a server that takes two seconds each: half of them stay."""
    row = backlog([0, 1, 2, 3, 4, 5, 6, 7], [2, 4, 6, 8, 10, 12, 14, 16])
    # at the arrivals: 1, 2, 2, 3, 3, 4, 4, 5; the first two fill the server
    assert (row.growth, row.late_growth, row.peak, row.scatter) == (3, 1, 5, 0)


def test_a_request_that_is_never_done_stays_in_the_backlog() -> None:
    assert backlog([0, 1, 2, 3], [0.5, math.inf, 2.5, 3.5]).peak == 2


def test_too_few_requests_tell_nothing_and_say_how_many_would() -> None:
    assert needed_requests(1.0) == 1452
    quiet = Backlog(requests=120, growth=0, late_growth=0, spread=1, peak=3, scatter=1.0)
    assert quiet.verdict == "undecided"
    assert quiet.sentence == (
        "undecided: the backlog moved by +0 over 90 requests (peak 3); an overload of 46% could have been missed, "
        "1452 requests are needed"
    )


def test_growth_alone_is_no_overload_at_capacity() -> None:
    """Over 1,500 requests a sum of random steps moves by some forty: only more than 90 is an overload."""
    counted = {"requests": 2000, "late_growth": 60.0, "spread": 100.0, "peak": 120, "scatter": 1.0}
    assert Backlog(growth=85.0, **counted).verdict == "undecided"  # type: ignore[arg-type]
    assert Backlog(growth=95.0, **counted).verdict == "not sustained"  # type: ignore[arg-type]
    assert Backlog(growth=95.0, **{**counted, "late_growth": 10.0}).verdict == "undecided"  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SERVERS)
def test_the_verdict_on_servers_of_known_capacity(name: str) -> None:
    """At half the capacity, at 1.1 times and at 1.5 times; twenty seeded runs each."""
    verdicts = {
        rate: [simulated_backlog(SERVERS[name], rate, 1815, np.random.default_rng(seed)).verdict for seed in range(20)]
        for rate in (0.5, 1.1, 1.5)
    }
    assert verdicts[0.5].count("sustained") >= 18
    assert "not sustained" not in verdicts[0.5]
    assert "sustained" not in verdicts[1.1]
    assert set(verdicts[1.5]) == {"not sustained"}


@pytest.mark.parametrize("rate", [1.2, 4.0])
@pytest.mark.parametrize("name", SERVERS)
def test_an_overload_tells_the_capacity(name: str, rate: float) -> None:
    """What is completed while requests arrive too quickly is what a server of 1 request/s can do."""
    overload = simulated_backlog(SERVERS[name], rate, 1815, np.random.default_rng(0))
    assert rate * overload.served_share == pytest.approx(1.0, abs=0.1)
