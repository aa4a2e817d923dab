"""One row of the table of causes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FaultCause:
    """What a line of a log says, what it means, what to do.

    `pattern` is searched for in a line without its prefixes; `{1}` in `cause` and `remedy` is its first group. Options
    are vLLM's own. `line` is such a line; `source` says whose words they are: a file of a package (`vllm/envs.py`),
    which they are checked against, a report (`owner/name#1`), or a program; `versions` are the package's that say it,
    where not all do (`<0.33`). `general` causes speak only where no other does: their lines follow from many faults.
    """

    pattern: str
    cause: str
    remedy: str
    line: str
    source: str
    general: bool = False
    versions: str = ""
