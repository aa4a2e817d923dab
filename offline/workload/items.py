"""One request of a workload before it has a time: its lengths, what it shares, and its tokens where they are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Item:
    """Lengths in tokens. `prompt_token_ids` is None where only the length is known: the schedule then draws ids."""

    input_tokens: int
    output_tokens: int
    prefix: str | None = None  # which shared prefix it begins with
    prefix_tokens: int = 0
    sampling: Mapping[str, float] = field(default_factory=dict)  # temperature, top_p, top_k, seed; {} is greedy
    prompt_token_ids: tuple[int, ...] | None = None
    at_s: float | None = None  # its recorded arrival, after the first one of its recording
    part: str = ""  # the part of the mix that it comes from
