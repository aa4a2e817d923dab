"""What a file of records adds up to: counted line by line, in memory that grows with the numbers but not the texts."""

from __future__ import annotations

import heapq
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from probes.batch.outcomes import lines
from probes.batch.record import Record, parsed
from probes.report.repeats import Occasions
from probes.statistics.blocks import Blocks, Numbers, blocks
from probes.statistics.intervals import Estimate, wilson

SHARES = (0.5, 0.95, 0.99)
KINDS = ("latency", "ttft", "itl")
BEGINNING = 60  # characters of a text that a report shows


@dataclass
class Fault:
    """One kind of failure: its class, status and message, how often, and the first prompt that met it."""

    error_type: str
    status_code: int | None
    error_msg: str
    example_id: str
    count: int = 0


@dataclass(frozen=True)
class Slow:
    """What a report shows of a slow answer; times are seconds."""

    id: str
    line: int
    latency_s: float
    ttft_s: float | None
    completion_tokens: int | None
    attempts: int
    text: str


def _shown(record: Record) -> Slow:
    text = record.text[:BEGINNING]
    return Slow(
        record.id, record.line, record.latency_s, record.ttft_s, record.completion_tokens, record.attempts, text
    )


@dataclass(frozen=True)
class Latencies:
    """Latencies of a kind, in seconds: mean, quantiles at `SHARES`, the least and the greatest that was seen."""

    mean: Estimate
    quantiles: list[Estimate]
    least: float
    greatest: float


def _numbers() -> array[float]:
    return array("d")


@dataclass
class Observed:
    """Values with the moments at which they were complete, in seconds since 1970."""

    values: array[float] = field(default_factory=_numbers)
    moments: array[float] = field(default_factory=_numbers)

    def add(self, value: float, moment: float) -> None:
        """Add one."""
        self.values.append(value)
        self.moments.append(moment)


@dataclass
class Summary:
    """The sums of one file. Times are seconds; those of prompts without an answer are left out."""

    path: Path
    top: int = 5
    records: int = 0
    ok: int = 0
    torn: int = 0
    foreign: int = 0
    twice: int = 0
    retried: int = 0
    further_attempts: int = 0
    completion_tokens: int = 0
    prompt_tokens: int = 0
    chunks: int = 0
    counted: int = 0  # answers of which the server counted the tokens
    cached_tokens: int = 0
    cached_counted: int = 0  # answers of which the server counted the cached prompt tokens
    described: Counter[str] = field(default_factory=Counter)
    faults: dict[tuple[str, int | None, str], Fault] = field(default_factory=dict)
    slowest: list[tuple[float, int, Slow]] = field(default_factory=list)
    occasions: Occasions = field(default_factory=Occasions)
    _observed: dict[str, Observed] = field(default_factory=lambda: {key: Observed() for key in KINDS})
    _per_token: Observed = field(default_factory=Observed)
    _sent: array[float] = field(default_factory=_numbers)  # of each answer, as its tokens are
    _tokens_out: array[int] = field(default_factory=lambda: array("q"))
    _tokens_in: array[int] = field(default_factory=lambda: array("q"))
    _late_s: float = 0.0
    _cacheable_tokens: int = 0  # prompt tokens of the answers whose cached ones were counted
    _spans: dict[float, float] = field(default_factory=dict)
    _lines: set[int] = field(default_factory=set)

    def add(self, record: Record) -> None:
        """Count a record in."""
        self.records += 1
        self.twice += record.line in self._lines
        self._lines.add(record.line)
        self.retried += record.attempts > 1
        self.further_attempts += record.attempts - 1
        self.described[f"{record.model}, {record.mode}{', stream' if record.stream else ''}"] += 1
        span_s = record.ended_s - record.began_s
        self._spans[record.began_s] = max(self._spans.get(record.began_s, 0.0), span_s)
        if record.attempts == 1:
            self._late_s = max(self._late_s, record.sent_s - record.scheduled_s)
        if record.ok:
            self._add_answer(record)
        else:
            self._add_fault(record)

    def _add_answer(self, record: Record) -> None:
        self.ok += 1
        self.occasions.add(record)
        self._observed["latency"].add(record.latency_s, record.ended_s)
        self._sent.append(record.sent_s)
        self._tokens_out.append(record.completion_tokens or 0)
        self._tokens_in.append(record.prompt_tokens or 0)
        moment = record.scheduled_s + (record.ttft_s or 0.0)
        if record.ttft_s is not None:
            self._observed["ttft"].add(record.ttft_s, moment)
        for gap in record.itl:
            moment += gap
            self._observed["itl"].add(gap, moment)
        if record.completion_tokens is not None:
            self._add_tokens(record, record.completion_tokens)
        heapq.heappush(self.slowest, (record.latency_s, -record.line, _shown(record)))
        if len(self.slowest) > self.top:
            heapq.heappop(self.slowest)

    def _add_tokens(self, record: Record, completion_tokens: int) -> None:
        self.counted += 1
        self.completion_tokens += completion_tokens
        self.prompt_tokens += record.prompt_tokens or 0
        self.chunks += record.stream_chunks
        if completion_tokens:
            self._per_token.add(record.latency_s / completion_tokens, record.ended_s)
        if record.cached_tokens is not None:
            self.cached_counted += 1
            self.cached_tokens += record.cached_tokens
            self._cacheable_tokens += record.prompt_tokens or 0

    def _add_fault(self, record: Record) -> None:
        kind = (record.error_type or "", record.status_code, record.error_msg or "")
        self.faults.setdefault(kind, Fault(*kind, record.id)).count += 1

    # --- figures ---

    @property
    def failed(self) -> int:
        """Prompts without an answer."""
        return self.records - self.ok

    @property
    def success(self) -> Estimate | None:
        """The share of prompts that were answered."""
        return wilson(self.ok, self.records)

    @property
    def by_class(self) -> dict[str, int]:
        """Failures by class, the most frequent first."""
        counts: Counter[str] = Counter()
        for fault in self.faults.values():
            counts[fault.error_type] += fault.count
        return dict(counts.most_common())

    @property
    def top_faults(self) -> list[Fault]:
        """The most frequent failures."""
        return sorted(self.faults.values(), key=lambda fault: -fault.count)[: self.top]

    @property
    def slowest_first(self) -> list[Slow]:
        """The answers that took longest."""
        return [kept for _, _, kept in sorted(self.slowest, key=lambda entry: entry[:2], reverse=True)]

    @property
    def seconds(self) -> float:
        """How long the batch ran, all its starts together, without the pauses between them."""
        return sum(self._spans.values())

    @property
    def starts(self) -> int:
        """How often the batch was started or resumed."""
        return len(self._spans)

    @property
    def sent_late_s(self) -> float:
        """By how much a first attempt was later than scheduled, at most: the client's own part of the latency."""
        return self._late_s

    @property
    def tokens_per_chunk(self) -> float | None:
        """Tokens in a chunk of a stream; above 1, ITL is a time between chunks and not between tokens."""
        return self.completion_tokens / self.chunks if self.chunks else None

    @property
    def cached_share(self) -> float | None:
        """The share of prompt tokens that the server found in its prefix cache; None where it does not count them."""
        return self.cached_tokens / self._cacheable_tokens if self._cacheable_tokens else None

    @cached_property
    def blocks(self) -> Blocks:
        """The blocks of time that intervals are made of."""
        return blocks(self.seconds, np.asarray(self._observed["latency"].values))

    def _position(self, moments: array[float]) -> Numbers:
        """Moments in seconds of running: the pauses between starts are taken out."""
        begins = np.array(sorted(self._spans))
        before = np.concatenate([[0.0], np.cumsum([self._spans[begin] for begin in begins])[:-1]])
        times = np.asarray(moments)
        start = np.clip(np.searchsorted(begins, times, "right") - 1, 0, None)
        return before[start] + times - begins[start]

    def _rate(self, amounts: Numbers) -> Estimate | None:
        if self.seconds <= 0:
            return None
        ends = self._position(self._observed["latency"].moments)
        return self.blocks.rate(amounts, self._position(self._sent), ends) if self.ok else Estimate(0.0, None, None)

    @cached_property
    def answers_s(self) -> Estimate | None:
        """Answers a second of running."""
        return self._rate(np.ones(self.ok))

    @cached_property
    def tokens_out_s(self) -> Estimate | None:
        """Output tokens a second of running, of the answers whose tokens the server counted; None where of none."""
        return self._rate(np.asarray(self._tokens_out, dtype=float)) if self.counted or not self.ok else None

    @cached_property
    def tokens_in_s(self) -> Estimate | None:
        """The same of prompt tokens."""
        return self._rate(np.asarray(self._tokens_in, dtype=float)) if self.counted or not self.ok else None

    @cached_property
    def times(self) -> dict[str, Latencies | None]:
        """Latency, TTFT and ITL; None where there is none."""
        return {key: self._times(observed) for key, observed in self._observed.items()}

    def _times(self, observed: Observed) -> Latencies | None:
        if not observed.values:
            return None
        values, positions = np.asarray(observed.values), self._position(observed.moments)
        mean, quantiles = self.blocks.mean(values, positions), self.blocks.quantiles(values, positions, SHARES)
        return Latencies(mean, quantiles, float(values.min()), float(values.max()))

    @cached_property
    def normalized_s(self) -> Estimate | None:
        """Normalized latency: the mean over answers of latency / output tokens, in seconds a token."""
        positions = self._position(self._per_token.moments)
        return self.blocks.mean(np.asarray(self._per_token.values), positions) if len(positions) else None


def summarize(path: Path, top: int) -> Summary:
    """Read a file of records; what is no record of ours is counted."""
    summary = Summary(path, top)
    for line in lines(path):
        if (record := parsed(line, path)) is not None:
            summary.add(record)
        elif not line.endswith(b"\n"):
            summary.torn += 1
        elif line.strip():
            summary.foreign += 1
    return summary


def differences(summaries: Sequence[Summary]) -> list[str]:
    """In what files that are compared are not alike."""
    kinds = {", ".join(sorted(summary.described)) for summary in summaries if summary.records}
    return [f"these are different batches: {'; '.join(sorted(kinds))}"] if len(kinds) > 1 else []
