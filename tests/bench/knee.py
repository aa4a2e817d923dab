"""How often a bracket of the knee holds the capacity, on simulated servers whose capacity is known.

Servers of 1 request/s: one request at a time of equal (M/D/1) or exponential lengths (M/M/1), up to eight waiting
requests together for eight seconds (static batching), and twenty places of twenty seconds each on average (continuous
batching). Poisson arrivals; a search begins anywhere between 0.2 and 16 times the capacity. *Holds*: the capacity lies
in [sustained, not sustained]. The width is a share of the upper end; requests are those of the whole search, and the
time is how many requests the server could have served meanwhile, which tells what a budget has to be.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from offline.traffic.backlog import NOT_SUSTAINED, SUSTAINED, UNDECIDED
from tests.offline.traffic.servers import SERVERS, searched_bracket, simulated_backlog

RATES = (0.5, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2)
REQUESTS = (1815, 7260)


def searches(runs: int) -> Iterator[str]:
    """A line a server: whether brackets hold, *sustained* from 1.1 times on, widths, and what a search costs."""
    head = (
        "holds",
        "sustained at 1.1 times or more",
        "width: median",
        "90 % below",
        "at most 10 %",
        "requests",
        "time",
    )
    yield f"| server | {' | '.join(head)} |"
    yield f"|{' --- |' * 8}"
    for name, server in SERVERS.items():
        results = [searched_bracket(server, seed) for seed in range(runs)]
        holds = sum((now.low_req_s or 0.0) <= 1.0 <= (now.high_req_s or np.inf) for now, _ in results)
        wrong = sum(t.verdict == SUSTAINED and t.rate_req_s >= 1.1 for _, trials in results for t in trials)
        widths = np.array([now.width for now, _ in results])
        requests = np.median([sum(trial.requests for trial in trials) for _, trials in results])
        seconds = np.median([sum(trial.requests / trial.rate_req_s for trial in trials) for _, trials in results])
        cells = [f"{holds} of {runs}", str(wrong), f"{np.median(widths):.0%}", f"{np.quantile(widths, 0.9):.0%}"]
        cells += [f"{np.mean(widths <= 0.1):.0%}", f"{requests:,.0f}", f"{seconds:,.0f}"]
        yield f"| {name} | {' | '.join(cells)} |"


def verdicts(runs: int) -> Iterator[str]:
    """A line a server and number of requests: shares of sustained / undecided / not sustained at each rate."""
    yield f"| server | requests | {' | '.join(f'{rate:g}' for rate in RATES)} |"
    yield f"|{' --- |' * (2 + len(RATES))}"
    for name, server in SERVERS.items():
        for requests in REQUESTS:
            cells = []
            for rate in RATES:
                chances = map(np.random.default_rng, range(runs))
                answers = [simulated_backlog(server, rate, requests, rng).verdict for rng in chances]
                shares = [answers.count(each) / runs for each in (SUSTAINED, UNDECIDED, NOT_SUSTAINED)]
                cells.append(" / ".join(f"{share:.0%}" for share in shares))
            yield f"| {name} | {requests:,} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python tests/bench/knee.py --runs 20")
    parser.add_argument("--runs", type=int, default=100, help="seeded searches and runs a line (default 100)")
    parser.add_argument("--out", type=Path, help="write the table to this file")
    args = parser.parse_args()
    command = f"python tests/bench/knee.py --runs {args.runs}"
    lines = ["# The knee: how often its bracket holds the capacity", "", *(__doc__ or "").splitlines(), ""]
    lines += [f"`{command}`, {time.strftime('%Y-%m-%d')}; seeds 0 to {args.runs - 1}, fixed beforehand."]
    lines += ["The constants of the test were chosen on these servers too: others may fare worse.", ""]
    lines += ["## Searches of at most 14 rates", "", *searches(args.runs), ""]
    lines += ["## Single rates: sustained / undecided / not sustained", "", *verdicts(args.runs)]
    print("\n".join(lines))
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
