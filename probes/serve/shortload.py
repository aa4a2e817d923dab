"""Some requests at once on a server that passed its checks: how fast it answers, and how busy its cards are then."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass

from probes.devices.sampling import DeviceSampler, SampledDevice
from probes.serve.checks.expectations import Served, completed, completion

CLIENTS, TOKENS = 8, 64
SAMPLED_S = 5.0  # with a sample a second


@dataclass(frozen=True)
class ShortLoad:
    """Clients at once, one request after the other each: output tokens of all, the seconds to the last answer, and each
    card's means; no card where none was sampled."""

    clients: int
    tokens: int
    seconds: float
    cards: Sequence[SampledDevice] = ()

    @property
    def tok_s(self) -> float:
        """Output tokens a second."""
        return self.tokens / self.seconds


def short_load(served: Served, sampled: bool) -> ShortLoad:
    """Put it on: for some seconds where cards are sampled, else a request each. `NoAnswer`, `CheckFailed` and what else
    an answer of another form raises where one is not as it should be."""
    gpus = DeviceSampler() if sampled else None
    begin_s = time.monotonic()
    with gpus or nullcontext(), ThreadPoolExecutor(CLIENTS) as pool:
        until_s = begin_s + (SAMPLED_S if gpus else 0.0)
        answers = [pool.submit(_send, served, until_s) for _ in range(CLIENTS)]
        tokens = sum(each.result() for each in answers)
        took_s = time.monotonic() - begin_s
    return ShortLoad(CLIENTS, tokens, took_s, gpus.take() if gpus else ())


def _send(served: Served, until_s: float) -> int:
    """One request after the other until then, one at least; the tokens of all."""
    body, tokens = completion(served, max_tokens=min(TOKENS, served.max_len // 2), ignore_eos=True), 0
    while not tokens or time.monotonic() < until_s:
        tokens += completed(served.ask("/v1/completions", body)).completion_tokens
    return tokens
