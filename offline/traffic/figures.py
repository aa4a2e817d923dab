"""The figures of one rate on one start, computed from its raw requests and steps.

Latencies count from the scheduled time of sending. Means and percentiles are over finished requests; what was not
finished is counted beside them and is never inside a goodput.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from offline.load.records import FINISHED, MeasuredRate, ServedRequest, StepLine
from offline.traffic.backlog import Backlog, backlog
from offline.traffic.distributions import LatencyFigures, distribution
from probes.statistics.blocks import Blocks, Numbers, blocks
from probes.statistics.intervals import Estimate, wilson

LATE_S = 0.002  # a sender whose P99 is later than this says so


@dataclass(frozen=True)
class RequestTimes:
    """One finished request; seconds. `itl_s` are the gaps between its outputs, `tpot_s` is None for one token."""

    done_s: float  # after the beginning of the rate
    e2e_s: float
    ttft_s: float
    tpot_s: float | None
    normalized_s: float
    queue_s: float | None
    itl_s: tuple[float, ...]

    def meets(self, slo_s: Mapping[str, float]) -> bool:
        """Whether it is inside all objectives: `ttft`, `tpot`, `e2e`; one token has no TPOT to miss."""
        values = {"ttft": self.ttft_s, "tpot": self.tpot_s, "e2e": self.e2e_s}
        return all((values[name] or 0.0) <= most for name, most in slo_s.items())


@dataclass(frozen=True)
class RateFigures:
    """One rate on one start. Rates are per second, times seconds; None where a figure is not known."""

    measured: MeasuredRate
    offered_req_s: float
    normalized: LatencyFigures | None
    ttft: LatencyFigures | None
    tpot: LatencyFigures | None
    itl: LatencyFigures | None
    e2e: LatencyFigures | None
    queue: LatencyFigures | None
    longest_itl_s: float | None
    output_tok_s: Estimate
    running_mean: float | None
    kv_use_max: float | None
    preemptions: int | None
    goodput_req_s: float | None
    goodput_share: Estimate | None
    late_p99_s: float
    backlog: Backlog | None  # None for one request at a time

    @property
    def late(self) -> bool:
        """Whether the sender itself was late."""
        return self.late_p99_s > LATE_S

    @property
    def starved_share(self) -> float:
        """Of the rate's time, what the thread that received its tokens waited for a processor."""
        return self.measured.starved_ns / max(self.measured.closed_ns - self.measured.begin_ns, 1)

    @property
    def verdict(self) -> str:
        """Whether the rate is sustained, as `Backlog` tells it; empty for one request at a time."""
        return self.backlog.verdict if self.backlog else ""


def request_times(request: ServedRequest, begin_ns: int) -> RequestTimes | None:
    """The times of a finished request; None for any other."""
    tokens = sum(request.tokens)
    if request.finish not in FINISHED or not tokens:
        return None
    first, last = request.token_ns[0], request.token_ns[-1]
    e2e_s = (last - request.scheduled_ns) / 1e9
    queue_ns = None if request.started_ns is None else request.started_ns - request.scheduled_ns
    return RequestTimes(
        done_s=(last - begin_ns) / 1e9,
        e2e_s=e2e_s,
        ttft_s=(first - request.scheduled_ns) / 1e9,
        tpot_s=(last - first) / 1e9 / (tokens - request.tokens[0]) if tokens > request.tokens[0] else None,
        normalized_s=e2e_s / tokens,
        queue_s=None if queue_ns is None else queue_ns / 1e9,
        itl_s=tuple((np.diff(request.token_ns) / 1e9).tolist()),
    )


def rate_figures(
    measured: MeasuredRate,
    requests: Sequence[ServedRequest],
    steps: Sequence[StepLine] = (),
    slo_s: Mapping[str, float] | None = None,
) -> RateFigures:
    """The figures of a rate from its requests, its steps, and the objectives of its goodput.

    Of a rate whose first steps were lost, no figure is made of the others.
    """
    begin_ns, seconds = measured.begin_ns, (measured.end_ns - measured.begin_ns) / 1e9
    finished = [times for request in requests if (times := request_times(request, begin_ns))]
    cut = blocks(seconds, np.array([each.e2e_s for each in finished]))
    itl = [gap for each in finished for gap in each.itl_s]
    met = sum(each.meets(slo_s) for each in finished) if slo_s else None
    late = [(request.sent_ns - request.scheduled_ns) / 1e9 for request in requests]
    known_steps = () if measured.steps_lost else steps
    inside = [step for step in known_steps if begin_ns <= step.start_ns < measured.end_ns]
    return RateFigures(
        measured=measured,
        offered_req_s=len(requests) / seconds if seconds > 0 else 0.0,
        longest_itl_s=max(itl, default=None),
        itl=_gaps(finished, cut),
        output_tok_s=output_rate(requests, begin_ns, cut),
        running_mean=running_mean(inside),
        kv_use_max=max((step.kv_use for step in inside if step.kv_use is not None), default=None),
        preemptions=preemptions(known_steps, requests),
        goodput_req_s=None if met is None else met / seconds,
        goodput_share=None if met is None else wilson(met, len(requests)),
        late_p99_s=float(np.quantile(late, 0.99)) if late else 0.0,
        backlog=None if measured.rate_req_s is None else rate_backlog(requests),
        **{name: _of(finished, f"{name}_s", cut) for name in ("normalized", "ttft", "tpot", "e2e", "queue")},
    )


def rate_backlog(requests: Sequence[ServedRequest]) -> Backlog:
    """How the backlog of a rate moved; a request that was not finished stays in it for ever."""
    ordered = sorted(requests, key=lambda request: request.scheduled_ns)
    begin_ns = ordered[0].scheduled_ns if ordered else 0
    arrivals = [(request.scheduled_ns - begin_ns) / 1e9 for request in ordered]
    ends = [(r.token_ns[-1] - begin_ns) / 1e9 if r.finish in FINISHED and r.token_ns else math.inf for r in ordered]
    return backlog(arrivals, ends)


def output_rate(requests: Sequence[ServedRequest], begin_ns: int, cut: Blocks) -> Estimate:
    """Output tokens a second inside the rate's duration; each output is spread over the time since the one before."""
    ends = np.array([now for request in requests for now in request.token_ns], dtype=np.int64)
    before = [now for r in requests for now in (r.scheduled_ns, *r.token_ns[:-1])[: len(r.token_ns)]]
    amounts = np.array([tokens for request in requests for tokens in request.tokens], dtype=float)
    if not len(ends) or cut.seconds <= 0:
        return Estimate(0.0, None, None)
    ends_s, begins_s = (ends - begin_ns) / 1e9, (np.array(before, dtype=np.int64) - begin_ns) / 1e9
    inside = ends_s <= cut.seconds
    return cut.rate(amounts[inside], begins_s[inside], ends_s[inside])


def running_mean(steps: Sequence[StepLine]) -> float | None:
    """Requests that a step ran, weighted by the steps' times; None where steps are not known."""
    times = sum(step.end_ns - step.start_ns for step in steps)
    return sum(step.running * (step.end_ns - step.start_ns) for step in steps) / times if times else None


def preemptions(steps: Sequence[StepLine], requests: Sequence[ServedRequest]) -> int | None:
    """Times that a request was sent back to wait: by steps, where unfinished ones are counted too, else by requests."""
    by_step = [step.preempted for step in steps if step.preempted is not None]
    by_request = [request.preemptions for request in requests if request.preemptions is not None]
    counts = by_step or by_request
    return sum(counts) if counts else None


def _of(finished: Sequence[RequestTimes], name: str, cut: Blocks) -> LatencyFigures | None:
    pairs = [(getattr(each, name), each.done_s) for each in finished if getattr(each, name) is not None]
    values, times = (np.array(column, dtype=float) for column in zip(*pairs, strict=True)) if pairs else (_NONE, _NONE)
    return distribution(values, times, cut)


def _gaps(finished: Sequence[RequestTimes], cut: Blocks) -> LatencyFigures | None:
    """The gaps of all requests, each at the moment at which it was over."""
    if not any(each.itl_s for each in finished):
        return None
    values = np.concatenate([each.itl_s for each in finished])
    moments = [each.done_s - np.cumsum(each.itl_s[::-1])[::-1] + each.itl_s for each in finished if each.itl_s]
    return distribution(values, np.concatenate(moments), cut)


_NONE: Numbers = np.array([], dtype=float)
