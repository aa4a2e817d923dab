"""The ledger: what watching cost on a machine, kept in the cache folder and quoted by later reviews of that machine.

`watching-cost.json` holds entries of one machine, model and batch size each; a new one takes the place of its like.
Schema 1 had rows without records of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from math import comb
from pathlib import Path
from statistics import median

from probes.checkpoint import cache_folder
from probes.errors import EnginescopeError
from probes.machine import differences
from tracing.overhead import entry as entryfile
from tracing.overhead.entry import Changes, Entry, Interval, Plain, QuotedCost, Round

SCHEMA = 2
FILE = "watching-cost.json"
CONFIDENCE = 0.95
BASE, SECOND = "off", "off too"  # the plain engine, and another one like it


def interval(values: Sequence[float]) -> Interval:
    """The median with its 95 % interval by order statistics, which asks nothing of the distribution; from 6 values on.

    The k-th smallest and k-th largest of n hold the median between them with probability 1 - 2·P(B < k), B binomial
    with n draws of ½; k is the largest for which that is 95 %.
    """
    ordered, n = sorted(values), len(values)
    at_most = (ways / 2**n for ways in accumulate(comb(n, k) for k in range(n + 1)))  # P(B <= k) for k from 0 on
    k = next(k for k, chance in enumerate(at_most) if chance >= (1 - CONFIDENCE) / 2)
    lo, hi = (ordered[k - 1], ordered[n - k]) if k else (None, None)
    return Interval(median(ordered), lo, hi, n)


def changes(rounds: Sequence[Round], arm: str) -> Changes:
    """The change that an arm makes against the plain engine in the same round."""
    pairs = [(each[arm], each[BASE]) for each in rounds if arm in each and BASE in each]
    return Changes(
        interval([trial.tok_s / plain.tok_s - 1 for trial, plain in pairs]),
        interval([trial.ttft_s / plain.ttft_s - 1 for trial, plain in pairs]),
        interval([trial.tpot_s / plain.tpot_s - 1 for trial, plain in pairs]),
    )


def plain(rounds: Sequence[Round]) -> Plain:
    """The plain engine's own medians."""
    trials = [each[BASE] for each in rounds]
    return Plain(
        median(trial.tok_s for trial in trials),
        median(trial.ttft_s for trial in trials),
        median(trial.tpot_s for trial in trials),
    )


def path() -> Path:
    return cache_folder() / FILE


def entries() -> list[Entry]:
    """All entries; none where there is no ledger yet."""
    try:
        values = json.loads(path().read_text())
        if values.get("schema") == SCHEMA:
            return [entryfile.read(each) for each in values["entries"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise EnginescopeError(f"cannot read the ledger {path()}: {error}; remove it and measure again") from None
    raise EnginescopeError(
        f"the ledger {path()} is of schema {values.get('schema')}, this version reads {SCHEMA}: remove it and measure "
        "again (python -m tracing.overhead)"
    )


def store(new: Entry) -> Path:
    """Put an entry in the place of one of the same machine, model and lengths; the ledger's path.

    Arms that were measured before and now were not keep their rows, with the day they are from.
    """
    others = []
    for old in entries():
        if old.shape == new.shape and not differences(old.machine, new.machine):
            new = _with_earlier_rows(new, old)
        else:
            others.append(old)
    path().parent.mkdir(parents=True, exist_ok=True)
    draft = path().with_suffix(".draft")
    draft.write_text(json.dumps({"schema": SCHEMA, "entries": list(map(entryfile.write, [*others, new]))}, indent=1))
    draft.replace(path())
    return path()


def _with_earlier_rows(new: Entry, old: Entry) -> Entry:
    earlier = [row for row in old.rows if not row.missing and new.row(row.arm) is None]
    dated = [replace(row, measured=row.measured or old.measured) for row in earlier]
    names = {row.arm for row in dated}
    return replace(new, rows=(*(row for row in new.rows if row.arm not in names), *dated))


def quote(machine: Mapping[str, object], watchers: Sequence[str]) -> list[QuotedCost]:
    """What these watchers cost on this machine: one an entry and watcher; empty where it was never measured there, or
    under other software."""
    return [
        QuotedCost(row.arm, row.measured or each.measured, *each.shape, row.changes, _second(each))
        for each in entries()
        if machine and not differences(each.machine, machine)
        for row in each.rows
        if row.arm in watchers and row.changes
    ]


def _second(entry: Entry) -> Interval | None:
    row = entry.row(SECOND)
    return row.changes.tok_s if row and row.changes else None
