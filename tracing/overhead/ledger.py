"""The ledger: what watching cost on a machine, kept in the cache folder and quoted by later reviews of that machine.

`watching-cost.json` holds entries of one machine, model and batch size each; a new one takes the place of its like.
Changes are against the plain engine in the same round: 0.02 is 2 % more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from probes.checkpoint import cache_folder
from probes.errors import EnginescopeError
from probes.machine import differences

SCHEMA = 1
FILE = "watching-cost.json"
CONFIDENCE = 0.95
BASE = "off"
FIGURES = ("tok_s", "ttft_s", "tpot_s")
LIKE = ("model", "batch_size", "input_len", "output_len")

Round = dict[str, dict[str, Any]]  # by arm, what its trial said


def interval(values: Sequence[float]) -> dict[str, Any]:
    """The median with its 95 % interval by order statistics, which asks nothing of the distribution; from 6 values on.

    The k-th smallest and k-th largest of n hold the median between them with probability 1 - 2·P(B < k), B binomial
    with n draws of ½; k is the largest for which that is 95 %.
    """
    from statistics import median

    from scipy.stats import binom

    ordered, n = sorted(values), len(values)
    k = int(binom.ppf((1 - CONFIDENCE) / 2, n, 0.5))  # P(B <= k) is at least 2.5 %, P(B < k) less
    known = k >= 1
    return {
        "median": median(ordered),
        "lo": ordered[k - 1] if known else None,
        "hi": ordered[n - k] if known else None,
        "n": n,
    }


def changes(rounds: Sequence[Round], arm: str) -> dict[str, Any]:
    """By figure, the change that an arm makes against the plain engine in the same round."""
    both = [each for each in rounds if arm in each and BASE in each]
    return {name: interval([each[arm][name] / each[BASE][name] - 1 for each in both]) for name in FIGURES}


def path() -> Path:
    return cache_folder() / FILE


def entries() -> list[dict[str, Any]]:
    """All entries; none where there is no ledger yet."""
    try:
        said = json.loads(path().read_text())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise EnginescopeError(f"cannot read the ledger {path()}: {error}; remove it and measure again") from None
    if said.get("schema") != SCHEMA:
        raise EnginescopeError(f"the ledger {path()} is of schema {said.get('schema')}, this version writes {SCHEMA}")
    found: list[dict[str, Any]] = said["entries"]
    return found


def store(new: dict[str, Any]) -> Path:
    """Put an entry in the place of one of the same machine, model and lengths; the ledger's path.

    Arms that were measured before and now were not keep their rows, with the day they are from.
    """
    seen = {row["arm"] for row in new["rows"] if not row["missing"]}
    kept = []
    for old in entries():
        if _alike(old, new):
            before = [{"measured": old["measured"]} | row for row in old["rows"] if row["arm"] not in seen]
            earlier = [row for row in before if not row["missing"]]
            told = {row["arm"] for row in earlier}
            new = new | {"rows": [row for row in new["rows"] if row["arm"] not in told] + earlier}
        else:
            kept.append(old)
    path().parent.mkdir(parents=True, exist_ok=True)
    draft = path().with_suffix(".draft")
    draft.write_text(json.dumps({"schema": SCHEMA, "entries": [*kept, new]}, indent=1))
    draft.replace(path())
    return path()


def _alike(old: dict[str, Any], new: dict[str, Any]) -> bool:
    same = all(old[name] == new[name] for name in LIKE)
    return same and not differences(old["machine"], new["machine"])


def quote(machine: dict[str, Any], watchers: Sequence[str]) -> list[dict[str, Any]]:
    """What these watchers cost on this machine: a row an entry and watcher; empty where it was never measured there, or
    under other software."""
    found = []
    for entry in entries():
        if machine and not differences(entry["machine"], machine):
            about = {name: entry[name] for name in (*LIKE, "measured")}
            # What two plain engines differ by: nothing smaller was seen.
            about["plain"] = next((row["tok_s"] for row in entry["rows"] if row["arm"] == "off too"), None)
            found += [about | row for row in entry["rows"] if row["arm"] in watchers and not row["missing"]]
    return found


def change(found: dict[str, Any] | None) -> str:
    """A change as text: `+1.2% [+0.8%, +1.9%]`."""
    if found is None:
        return "n/a"
    if found["lo"] is None:
        return f"{found['median']:+.1%} (n={found['n']})"
    return f"{found['median']:+.1%} [{found['lo']:+.1%}, {found['hi']:+.1%}]"
