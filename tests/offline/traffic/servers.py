"""Servers of known capacity, in exact arithmetic instead of time: when each of some arrivals is completed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from offline.traffic.backlog import Backlog, Times, backlog
from offline.traffic.knee import Bracket, RateTrial, bracket, next_trial

Server = Callable[[Times, np.random.Generator], Times]
BATCH = 8
BEGIN_SHARE = (0.2, 16.0)  # of the capacity: where a search begins


def deterministic(arrivals: Times, rng: np.random.Generator) -> Times:
    """M/D/1: one request at a time, one second each."""
    return _one_by_one(arrivals, np.ones(len(arrivals)))


def random_lengths(arrivals: Times, rng: np.random.Generator) -> Times:
    """M/M/1: one request at a time, exponential lengths of one second on average."""
    return _one_by_one(arrivals, rng.exponential(1.0, len(arrivals)))


def batches(arrivals: Times, rng: np.random.Generator) -> Times:
    """Up to 8 waiting requests together, 8 seconds a batch, however many they are."""
    completions, free, first = np.empty(len(arrivals)), 0.0, 0
    while first < len(arrivals):
        begin = max(free, arrivals[first])
        last = min(first + BATCH, int(np.searchsorted(arrivals, begin, "right")))
        free = begin + BATCH
        completions[first:last] = free
        first = last
    return completions


def many_at_once(arrivals: Times, rng: np.random.Generator) -> Times:
    """Continuous batching: 20 places, each request holds one for 20 seconds on average."""
    places, completions = np.zeros(20), np.empty(len(arrivals))
    for number, (arrival, length) in enumerate(zip(arrivals, rng.gamma(4, 5.0, len(arrivals)), strict=True)):
        place = int(places.argmin())
        places[place] = completions[number] = max(places[place], arrival) + length
    return completions


def _one_by_one(arrivals: Times, lengths: Times) -> Times:
    """Lindley's recursion (1952) as a running maximum."""
    ends = np.cumsum(lengths)
    completions: Times = ends + np.maximum.accumulate(arrivals - (ends - lengths))
    return completions


SERVERS: dict[str, Server] = {
    "M/D/1": deterministic,
    "M/M/1": random_lengths,
    "batches of 8": batches,
    "20 at once": many_at_once,
}


def simulated_backlog(
    server: Server, rate: float, requests: int, rng: np.random.Generator, scatter: float = 1.0
) -> Backlog:
    """That of one run of arrivals (Poisson, other gamma ones, or constant) at a server of 1 request/s."""
    if scatter == 1:
        gaps = rng.exponential(1 / rate, requests)
    else:
        gaps = (rng.gamma(1 / scatter**2, scatter**2, requests) if scatter else np.ones(requests)) / rate
    arrivals = np.cumsum(gaps)
    return backlog(arrivals, server(arrivals, rng))


def searched_bracket(
    server: Server, seed: int, most_trials: int = 14, scatter: float = 1.0
) -> tuple[Bracket, list[RateTrial]]:
    """The bracket that a search finds in at most so many trials, and all of them."""
    rng = np.random.default_rng(seed)
    start = float(np.exp(rng.uniform(*np.log(BEGIN_SHARE))))
    trials: list[RateTrial] = []
    while len(trials) < most_trials and (planned := next_trial(trials, start, max(1.0, scatter))) is not None:
        answer = simulated_backlog(server, planned.rate_req_s, planned.requests, rng, scatter)
        trials.append(planned.judged(answer))
    return bracket(trials), trials
