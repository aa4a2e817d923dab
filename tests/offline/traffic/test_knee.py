"""The search of the knee: which rate comes next, what the bracket is, and whether it holds a known capacity."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from offline.traffic.knee import Bracket, RateTrial, bracket, next_trial
from tests.offline.traffic.servers import SERVERS, searched_bracket

YES, NO, MAYBE = "sustained", "not sustained", "undecided"


def trials(**verdicts: str) -> list[RateTrial]:
    """`trials(r4=YES)` is a rate of 4 req/s that was sustained."""
    return [RateTrial(float(name[1:].replace("_", ".")), 1815, verdict) for name, verdict in verdicts.items()]


@pytest.mark.parametrize(
    ("tried", "ends"),
    [
        ({}, (None, None)),
        ({"r4": YES}, (4, None)),
        ({"r4": NO}, (None, 4)),
        ({"r2": YES, "r3": MAYBE, "r4": NO}, (2, 4)),
        ({"r2": YES, "r4": NO, "r5": YES}, (2, 4)),  # above a rate that was not sustained none is believed
    ],
)
def test_the_bracket_of_some_trials(tried: dict[str, str], ends: tuple[float | None, float | None]) -> None:
    assert bracket(trials(**tried)) == Bracket(*ends)


def test_a_bracket_in_words() -> None:
    assert Bracket(4.1, 4.4).sentence == "sustained at 4.1 req/s, not at 4.4 (7% wide)"
    assert Bracket(2, 4).sentence == "sustained at 2 req/s, not at 4 (50% wide)"
    assert Bracket(None, 4).sentence == "no rate was found to be sustained; 4 req/s was not"
    assert Bracket(4, None).sentence == "sustained at 4 req/s, the highest rate that could be judged"
    assert Bracket(None, None).sentence == "no rate could be judged sustained or not"


@pytest.mark.parametrize(
    ("tried", "rate", "requests"),
    [
        ({}, 3.0, 453),
        ({"r3": MAYBE}, 12.0, 453),  # short trials, until one is too much
        ({"r3": MAYBE, "r12": NO}, 4.8, 1815),  # it completed 4 a second: is that the capacity?
        ({"r48": NO}, 12.0, 453),  # 4 of 48 are too few to tell
        ({"r48": NO, "r12": MAYBE}, 14.4, 1815),  # nor is 12 too much
        ({"r12": NO, "r4_8": MAYBE}, 5.76, 1815),  # what was to be too much was not
        ({"r12": NO, "r4_8": NO}, 4.2 * 0.905, 1815),  # the capacity is 4: now just below it,
        ({"r12": NO, "r4_8": NO, "r3_8": YES}, 4.2, 1815),  # and just above it,
        ({"r12": NO, "r4_8": NO, "r3_8": YES, "r4_2": MAYBE}, 4.2, 3630),  # again with more,
        ({"r12": NO, "r4_8": NO, "r3_8": MAYBE}, 3.8 * 0.85, 1815),  # or farther below, so that there is a bracket
    ],
)
def test_the_next_trial(tried: dict[str, str], rate: float, requests: int) -> None:
    """A server of 4 requests/s."""
    so_far = [
        replace(each, requests=1815 if 3 < each.rate_req_s < 5 else 453, served_req_s=min(4.0, each.rate_req_s))
        for each in trials(**tried)
    ]
    assert next_trial(so_far, 3.0) == RateTrial(pytest.approx(rate), requests)


def test_a_search_that_cannot_get_narrower_ends() -> None:
    """Both ends were tried with 16 times the requests that *sustained* needs."""
    ends = [RateTrial(4.8, 1815, NO, 4.0), RateTrial(3.2, 1815, YES, 3.2)]
    assert next_trial([*ends, *(RateTrial(rate, 29_040, MAYBE, 4.0) for rate in (3.8, 4.2))], 3.0) is None


def test_a_narrow_bracket_ends_the_search() -> None:
    assert next_trial(trials(r10=YES, r11=NO), 3.0) is None


@pytest.mark.parametrize("name", SERVERS)
def test_the_bracket_holds_a_known_capacity(name: str) -> None:
    """Ten seeded searches here; a hundred of each server, and their widths, are in notes/tables/knee.md."""
    searches = [searched_bracket(SERVERS[name], seed) for seed in range(10)]
    holds = [(now.low_req_s or 0) <= 1 <= (now.high_req_s or math.inf) for now, _ in searches]
    assert holds.count(True) >= 9
    assert not [t for _, tried in searches for t in tried if t.verdict == YES and t.rate_req_s >= 1.1]


@pytest.mark.parametrize("scatter", [0.0, 2.0])
@pytest.mark.parametrize("name", SERVERS)
def test_steady_arrivals_and_bursts_have_a_knee_too(name: str, scatter: float) -> None:
    """Gaps that are all equal, and gamma ones of shape 1/4: of a hundred seeded searches in bursts 93 to 96 hold."""
    searches = [searched_bracket(SERVERS[name], seed, scatter=scatter) for seed in range(10)]
    holds = [(now.low_req_s or 0) <= 1 <= (now.high_req_s or math.inf) for now, _ in searches]
    assert holds.count(True) >= 8 and all(now.width < 0.4 for now, _ in searches)
    assert not [t for _, tried in searches for t in tried if t.verdict == YES and t.rate_req_s >= 1.1]
