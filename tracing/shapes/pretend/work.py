"""How long a step's work takes on the pretend device: known, seeded, by the kind of step.

As it is written on the command line: `10` for all kinds, or `40,20,10` for prefill, mixed and decode steps.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

from probes.errors import usage_error

VARIABLE = "ENGINESCOPE_DEVICE"  # the work, for the engine's processes
SAMPLING_SHARE = 0.1  # of a step's work: the rest is the forward pass


@dataclass(frozen=True)
class Work:
    """A step's work in ms, by its kind; each step's is drawn evenly from ± `spread` of that."""

    prefill_ms: float
    mixed_ms: float
    decode_ms: float
    spread: float = 0.1
    seed: int = 0

    def draw(self, kind: str, number: int) -> tuple[int, int]:
        """The forward pass and the sampling of a step, in ns; the same for the same step in every process."""
        usual = {"prefill": self.prefill_ms, "mixed": self.mixed_ms, "decode": self.decode_ms}[kind]
        factor = 1 + self.spread * random.Random(f"{self.seed} {number}").uniform(-1, 1)
        work_ns = round(usual * factor * 1e6)
        sampling_ns = round(work_ns * SAMPLING_SHARE)
        return work_ns - sampling_ns, sampling_ns

    def as_variable(self) -> str:
        """For the environment."""
        return json.dumps(asdict(self))


class Scheduled(Protocol):
    """What is read of a scheduler's output."""

    num_scheduled_tokens: Mapping[str, int]
    scheduled_spec_decode_tokens: Mapping[str, list[int]]


def kind_of(scheduled: Scheduled) -> str:
    """`prefill`, `mixed` or `decode`: a request that decodes has one token, and those drafted for it."""
    drafts = scheduled.scheduled_spec_decode_tokens
    decodes = [tokens == 1 + len(drafts.get(name, ())) for name, tokens in scheduled.num_scheduled_tokens.items()]
    return "decode" if all(decodes) else "mixed" if any(decodes) else "prefill"


def parse_work(text: str, seed: int = 0) -> Work:
    """The work that `--device-ms` asks for."""
    try:
        times = [float(part) for part in text.split(",")]
    except ValueError:
        times = []
    if len(times) not in (1, 3) or not all(0 < time < 1e6 for time in times):
        raise usage_error(f"--device-ms takes one time or three (prefill,mixed,decode) above 0, not {text!r}")
    prefill, mixed, decode = times * 3 if len(times) == 1 else times
    return Work(prefill, mixed, decode, seed=seed)


def work_of(text: str) -> Work:
    """The work that the environment holds."""
    return Work(**json.loads(text))
