"""Prompts that a batch sends again: whether they are answered faster, and whether the prefix cache can be why."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probes.batch.record import Record
from probes.metrics.table import percent, seconds
from probes.statistics.blocks import blocks
from probes.statistics.intervals import Estimate, ratio

NOT_COUNTED = "the server does not count cached tokens in its answers (vLLM: --enable-prompt-tokens-details)"


@dataclass(frozen=True)
class AnswerGroup:
    """The answers to prompts that came for the first time, or again: their mean time to the first token or, without a
    stream, to the end, and the share of their prompt tokens that the server had cached, None where it does not count.
    """

    count: int
    mean_s: Estimate
    cached_share: float | None


@dataclass(frozen=True)
class Repeats:
    """First times beside repeats. `time` is what `mean_s` is of."""

    time: str
    first: AnswerGroup
    again: AnswerGroup

    @property
    def ratio(self) -> Estimate | None:
        """The repeats' time over that of the first times."""
        return ratio(self.again.mean_s, self.first.mean_s)

    def sentence(self) -> str:
        """What can be said of it."""
        again, first = seconds(self.again.mean_s.value), seconds(self.first.mean_s.value)
        means = f"mean {self.time} {again}, {first} the first time"
        return f"{self.again.count:,} answers are to prompts sent again: {means}{self._times()}; {self._cause()}"

    def _times(self) -> str:
        times = self.ratio
        if times is None:
            return ""
        if times.low is None or times.high is None:
            return f" ({times.value:.2f}x; the run is too short for an interval)"
        return f" ({times.value:.2f}x [{times.low:.2f}x, {times.high:.2f}x])"

    def _cause(self) -> str:
        first, again, times = self.first.cached_share, self.again.cached_share, self.ratio
        if times is None or times.high is None or times.high >= 1:
            return "no difference seen that this run can be sure of"
        if again is None:
            return f"the prefix cache is the likely reason, but {NOT_COUNTED}"
        shares = f"of their prompt tokens {percent(again)} were in the prefix cache, {percent(first)} the first time"
        return f"the prefix cache made them faster: {shares}" if again > (first or 0) else f"not by the cache: {shares}"


class Occasions:
    """What each answer took, with its prompt, told by its checksum: of 100,000 prompts two may be taken for one."""

    def __init__(self) -> None:
        self._prompts, self._cached, self._cacheable = array("q"), array("q"), array("q")
        self._times, self._starts, self._ends = (array("d") for _ in range(3))
        self._streamed = True

    def add(self, record: Record) -> None:
        """Count an answer in."""
        self._prompts.append(record.line_crc32)
        self._cached.append(-1 if record.cached_tokens is None else record.cached_tokens)
        self._cacheable.append(record.prompt_tokens or 0)
        self._times.append(record.latency_s if record.ttft_s is None else record.ttft_s)
        self._streamed &= record.ttft_s is not None
        self._starts.append(record.scheduled_s)
        self._ends.append(record.scheduled_s + self._times[-1])

    def in_common(self, other: Occasions) -> int:
        """How many different prompts both have."""
        return len({*self._prompts} & {*other._prompts})

    def repeats(self) -> Repeats | None:
        """First times and repeats, in the order of sending; None where no prompt came twice."""
        prompts, order = np.asarray(self._prompts), np.argsort(np.asarray(self._starts), kind="stable")
        _, firsts = np.unique(prompts[order], return_index=True)
        if len(firsts) == len(prompts):
            return None
        first = np.zeros(len(prompts), bool)
        first[order[firsts]] = True
        return Repeats("TTFT" if self._streamed else "latency", self._group(first), self._group(~first))

    def _group(self, chosen: NDArray[np.bool_]) -> AnswerGroup:
        times, starts, ends = (np.asarray(each)[chosen] for each in (self._times, self._starts, self._ends))
        cached, cacheable = np.asarray(self._cached)[chosen], np.asarray(self._cacheable)[chosen]
        counted = cached >= 0
        share = float(cached[counted].sum() / cacheable[counted].sum()) if cacheable[counted].sum() else None
        span = blocks(float(ends.max() - starts.min()), times)
        return AnswerGroup(len(times), span.mean(times, ends - starts.min()), share)
