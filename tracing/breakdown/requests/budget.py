"""The budget of each request: its time by part, all of it, as `pieces` says what explains it.

Of what is unexplained, and of the loops' own time, samples tell in which part a thread stood in the kernel's run queue,
the quota kept it there, or the hypervisor had the core: these are parts of their own, and estimates.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from tracing.breakdown.budgets.account import account
from tracing.breakdown.requests.piece import UNEXPLAINED
from tracing.breakdown.review import BudgetPart
from tracing.timeline.contention import Contention
from tracing.timeline.index import Index
from tracing.timeline.requests import Flow

NOT_SAMPLED = Contention()


def budgets(index: Index, flows: list[Flow], samples: Contention = NOT_SAMPLED, cores: int = 1) -> pd.DataFrame:
    """Nanoseconds by request (a row each, by id) and part; those of a request add up to its latency exactly.

    `cores` are the machine's: of what the hypervisor took the total of all is sampled.
    """
    return account(index, flows, samples, cores)


def budget(index: Index, flow: Flow, samples: Contention = NOT_SAMPLED) -> dict[str, int]:
    """Nanoseconds of one request by part."""
    [parts] = budgets(index, [flow], samples).to_dict("records")
    return {str(part): int(ns) for part, ns in parts.items() if ns or part == UNEXPLAINED}


def summary(requests: pd.DataFrame) -> tuple[BudgetPart, ...]:
    """A row a part over all requests, the largest share first, what is unexplained last."""
    if not len(requests):
        return ()
    whole = int(requests.to_numpy().sum())
    rows = []
    for name in requests:
        values = requests[name].to_numpy()
        median, p95 = np.percentile(values, (50, 95))
        rows.append(BudgetPart(str(name), float(median), float(p95), int(values.sum()) / whole if whole else 0.0))
    return tuple(sorted(rows, key=lambda row: (row.stage == UNEXPLAINED, -row.share)))


def unexplained_share(requests: pd.DataFrame) -> float | None:
    """The median request's unexplained share of its latency."""
    shares = requests[UNEXPLAINED] / requests.sum(axis=1).clip(lower=1)
    return float(shares.median()) if len(shares) else None


def unexplained_per_token(requests: pd.DataFrame, flows: list[Flow]) -> float | None:
    """The median request's unexplained nanoseconds an output token; `requests` are the budgets of the whole `flows`."""
    tokens = np.array([flow.output_tokens for flow in flows if flow.is_whole], dtype=np.int64)
    each = requests[UNEXPLAINED].to_numpy()[tokens > 0] / tokens[tokens > 0]
    return float(np.median(each)) if len(each) else None
