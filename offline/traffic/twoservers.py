"""The time to first token where two engines share a request: what the first took of it, and what the second."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from offline.load.planning.schedule import level_name
from offline.load.records import FINISHED
from offline.traffic.results import LoadResults

SPLIT_HEADINGS = ("variant", "req/s", "start", "requests", "TTFT s", "prompt computed after s", "then first token s")
SPLIT_ABOUT = (
    "Medians over finished requests, from the scheduled time: until the first engine had computed the prompt (its "
    "queue included), and from then until the second one's first token (taking over keys and values included)."
)


def split_rows(results: LoadResults) -> Iterator[list[str]]:
    """A row a rate and start of variants with two engines."""
    for each in results.rates:
        times = [
            (request.prefilled_ns - request.scheduled_ns, request.token_ns[0] - request.prefilled_ns)
            for request in each.requests
            if request.prefilled_ns is not None and request.finish in FINISHED and request.token_ns
        ]
        if times:
            seconds = np.array(times) / 1e9
            medians = (np.median(seconds.sum(axis=1)), *np.median(seconds, axis=0))
            names = [each.variant, level_name(each.rate_req_s), str(each.figures.measured.start), str(len(times))]
            yield [*names, *(f"{value:.4f}" for value in medians)]
