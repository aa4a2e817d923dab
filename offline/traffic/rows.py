"""The table of a load run: a row a variant and rate, over the variant's starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from statistics import mean

from offline.load.planning.schedule import ONE_AT_A_TIME, level_name
from offline.records.workers import worker_memory
from offline.table.statistics import mean_interval
from offline.traffic.backlog import UNDECIDED
from offline.traffic.distributions import LatencyFigures
from offline.traffic.figures import RateFigures
from offline.traffic.results import LoadResults
from offline.variants.resolution import first_up
from probes.columns import column
from probes.console import percent, printable
from probes.markdown import table
from probes.statistics.intervals import Estimate

AT_A_RATE = "at a rate"  # the other kind of load than ONE_AT_A_TIME


@dataclass(frozen=True)
class RateRow:
    """One rate of a variant: means over its starts; `…_lo` and `…_hi` are the ends of 95 % intervals."""

    variant: str = field(metadata=column("name of the variant"))
    load: str = field(metadata=column("how its requests came: at a rate, or one at a time"))
    rate_req_s: float | None = field(metadata=column("request rate; empty for one at a time", "requests/s"))
    starts: int = field(metadata=column("starts of the variant that measured it"))
    spread: str = field(metadata=column("what intervals are made of: starts, or blocks of time in the only start"))
    offered_req_s: float = field(metadata=column("requests that were scheduled, a second", "requests/s"))
    requests: int = field(metadata=column("requests, all starts", "requests"))
    finished: int = field(metadata=column("of those, finished", "requests"))
    unfinished: int = field(metadata=column("given up because they still ran", "requests"))
    failed: int = field(metadata=column("failed", "requests"))
    verdict: str = field(metadata=column("sustained, not sustained or undecided: what all starts say"))
    normalized_s: float | None = field(metadata=column("normalized latency", "s/token", "mean(e2e / output tokens)"))
    normalized_s_lo: float | None = field(metadata=column("lower end of its interval", "s/token"))
    normalized_s_hi: float | None = field(metadata=column("upper end", "s/token"))
    normalized_s_p50: float | None = field(metadata=column("normalized latency, median", "s/token"))
    normalized_s_p99: float | None = field(metadata=column("the same, 99th percentile", "s/token"))
    ttft_s_p50: float | None = field(metadata=column("scheduled to first token, median", "s"))
    ttft_s_p99: float | None = field(metadata=column("the same, 99th percentile", "s"))
    tpot_s_p50: float | None = field(metadata=column("time a token after the first output, median", "s"))
    tpot_s_p99: float | None = field(metadata=column("the same, 99th percentile", "s"))
    itl_s_p50: float | None = field(metadata=column("time between two outputs, median", "s"))
    itl_s_p99: float | None = field(metadata=column("the same, 99th percentile", "s"))
    longest_itl_s: float | None = field(metadata=column("the longest time between two outputs of a request", "s"))
    queue_s_p50: float | None = field(metadata=column("scheduled to first run, median", "s"))
    output_tok_s: float = field(metadata=column("output tokens a second inside the duration", "tok/s"))
    output_tok_s_lo: float | None = field(metadata=column("lower end of its interval", "tok/s"))
    output_tok_s_hi: float | None = field(metadata=column("upper end", "tok/s"))
    running_mean: float | None = field(metadata=column("requests that a step ran, by time", "requests"))
    kv_use_max: float | None = field(metadata=column("largest share of the KV cache in use"))
    preemptions: int | None = field(metadata=column("times that a request was sent back to wait"))
    goodput_req_s: float | None = field(metadata=column("requests a second inside all objectives", "requests/s"))
    late_p99_s: float = field(metadata=column("how late the sender was, 99th percentile, the worst start", "s"))
    note: str = field(metadata=column("what the figures lack, and why"))

    @property
    def rate(self) -> str:
        """The rate in a table whose heading has the unit."""
        return level_name(self.rate_req_s)

    @property
    def level(self) -> str:
        """The rate in a sentence."""
        return level_name(self.rate_req_s, "req/s")


def rows(results: LoadResults) -> list[RateRow]:
    """All rows, by variant and rate."""
    return [rate_row(results, variant, rate) for variant in results.variants for rate in results.levels(variant)]


def rate_row(results: LoadResults, variant: str, rate_req_s: float | None) -> RateRow:
    """One rate of a variant from its starts."""
    starts = [each.figures for each in results.of(variant, rate_req_s)]
    measured = [each.measured for each in starts]
    normalized = over_starts([each.normalized.mean if each.normalized else None for each in starts])
    output = over_starts([each.output_tok_s for each in starts]) or Estimate(0.0, None, None)
    longest = [each.longest_itl_s for each in starts if each.longest_itl_s is not None]
    preempted = [each.preemptions for each in starts if each.preemptions is not None]
    return RateRow(
        variant=variant,
        load=ONE_AT_A_TIME if rate_req_s is None else AT_A_RATE,
        rate_req_s=rate_req_s,
        starts=len(starts),
        spread="starts" if len(starts) > 1 else "blocks of time, n=1",
        offered_req_s=mean(each.offered_req_s for each in starts),
        requests=sum(each.sent for each in measured),
        finished=sum(each.finished for each in measured),
        unfinished=sum(each.unfinished for each in measured),
        failed=sum(each.failed for each in measured),
        verdict=results.verdict(variant, rate_req_s),
        normalized_s=normalized.value if normalized else None,
        normalized_s_lo=normalized.low if normalized else None,
        normalized_s_hi=normalized.high if normalized else None,
        longest_itl_s=max(longest, default=None),
        output_tok_s=output.value,
        output_tok_s_lo=output.low,
        output_tok_s_hi=output.high,
        running_mean=_mean([each.running_mean for each in starts]),
        kv_use_max=max((each.kv_use_max for each in starts if each.kv_use_max is not None), default=None),
        preemptions=sum(preempted) if preempted else None,
        goodput_req_s=_mean([each.goodput_req_s for each in starts]),
        late_p99_s=max(each.late_p99_s for each in starts),
        note="; ".join(dict.fromkeys(note for each in starts for note in notes(each))),
        queue_s_p50=_median([each.queue for each in starts]),
        **{f"{name}_s_p50": _median([getattr(each, name) for each in starts]) for name in LATENCIES},
        **{f"{name}_s_p99": _p99([getattr(each, name) for each in starts]) for name in LATENCIES},
    )


STARVED_SHARE = 0.1  # of a rate's time; below it the latencies are little touched
LATENCIES = ("normalized", "ttft", "tpot", "itl")


def over_starts(estimates: Sequence[Estimate | None]) -> Estimate | None:
    """The mean over starts with its t-interval; of an only start, its own estimate; None where one start has none."""
    known = [each for each in estimates if each is not None]
    if not known or len(known) < len(estimates):
        return None
    if len(known) == 1:
        return known[0]
    figure = mean_interval([each.value for each in known])
    return Estimate(figure.mean, figure.lo, figure.hi) if figure else None


def notes(figures: RateFigures) -> list[str]:
    """What a reader must know of a rate: a late sender, what is missing, why a verdict is open."""
    lines = []
    if figures.late:
        lines.append(late_note(figures.late_p99_s))
    if figures.starved_share > STARVED_SHARE:
        lines.append(starved_note(figures.starved_share))
    if figures.measured.steps_lost:
        lines.append(lost_note(figures.measured.steps_lost))
    if figures.ttft and figures.ttft.p99_needs:
        lines.append(figures.ttft.p99_needs)
    if figures.backlog and figures.verdict == UNDECIDED:
        lines.append(figures.backlog.sentence)
    return lines


def late_note(late_p99_s: float) -> str:
    """What a late sender is said as."""
    return f"the sender was late: P99 {late_p99_s * 1e3:.1f} ms"


def starved_note(share: float) -> str:
    """What a client without a processor is said as."""
    return f"the thread receiving tokens waited for a processor {percent(share)} of the time; latencies include that"


def lost_note(steps: int) -> str:
    """What steps that the step log overwrote are said as."""
    return f"its first {steps:,} steps were overwritten: batch and KV use not known"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known and len(known) == len(values) else None


def _median(figures: Sequence[LatencyFigures | None]) -> float | None:
    return _mean([each.median.value if each else None for each in figures])


def _p99(figures: Sequence[LatencyFigures | None]) -> float | None:
    return _mean([each.p99.value if each and each.p99 else None for each in figures])


# --- the tables in text ---

SHOWN = (
    ("variant", "variant", ""),
    ("req/s", "rate", ""),
    ("starts", "starts", ""),
    ("verdict", "verdict", ""),
    ("finished", "finished", ""),
    ("unfinished", "unfinished", ""),
    ("failed", "failed", ""),
    ("normalized s/token", "normalized_s", ".4f"),
    ("TTFT p50 s", "ttft_s_p50", ".3f"),
    ("TPOT p50 s", "tpot_s_p50", ".4f"),
    ("longest ITL s", "longest_itl_s", ".3f"),
    ("out tok/s", "output_tok_s", ".1f"),
    ("running", "running_mean", ".1f"),
    ("goodput req/s", "goodput_req_s", ".2f"),
    ("sent late P99 s", "late_p99_s", ".4f"),
)
TEXT = (0, 1, 3)
SHORT_HEADINGS = tuple(name for name, _, _ in SHOWN)
WORKER_HEADINGS = ("variant", "worker", "weights", "KV cache", "resident memory")


def cells(row: RateRow) -> list[str]:
    """A row of the short table; what is not known is `-`."""
    values = [(getattr(row, name), form) for _, name, form in SHOWN]
    return ["-" if value is None else format(value, form) for value, form in values]


def worker_rows(results: LoadResults) -> Iterator[list[str]]:
    """A row a worker of the first start of each variant that has several; sizes in MiB."""
    for start in first_up(results.starts).values():
        workers = worker_memory(start.phases, start.memory)
        for worker in workers if len(workers) > 1 else ():
            sizes = (worker.weights_bytes, worker.kv_cache_bytes, worker.rss_bytes)
            yield [start.variant, worker.title, *("-" if size is None else f"{size / 2**20:.0f}" for size in sizes)]


def markdown_table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown; nothing in it is read as HTML."""
    heads, *rest = ([markdown_text(cell) for cell in line] for line in (headings, *lines))
    return table(heads, rest)


def markdown_text(text: str) -> str:
    """Text of a model, a prompt or a server as Markdown shows it, in one line."""
    return escape(printable(text), quote=False)
