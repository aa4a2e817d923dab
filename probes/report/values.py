"""A batch's figures as values, for JSON."""

from __future__ import annotations

from dataclasses import asdict

from probes.report.repeats import Repeats
from probes.report.summary import SHARES, Latencies, Summary
from probes.statistics.intervals import Estimate


def as_dict(each: Summary) -> dict[str, object]:
    """A summary for JSON."""
    times = {f"{key}_s": _times_dict(times) for key, times in each.times.items() if times}
    return {
        "path": str(each.path),
        **{
            key: getattr(each, key)
            for key in ("records", "ok", "counted", "failed", "torn", "foreign", "twice", "starts")
        },
        "batch": sorted(each.described),
        "success": _dict(each.success),
        "errors": each.by_class,
        "top_errors": [asdict(fault) for fault in each.top_faults],
        "retried": each.retried,
        "further_attempts": each.further_attempts,
        "seconds": each.seconds,
        "blocks": {"count": each.blocks.count, "needed_s": each.blocks.needed_s},
        "answers_per_s": _dict(each.answers_s),
        "completion_tokens_per_s": _dict(each.tokens_out_s),
        "prompt_tokens_per_s": _dict(each.tokens_in_s),
        "completion_tokens": each.completion_tokens if each.counted else None,
        "prompt_tokens": each.prompt_tokens if each.counted else None,
        "cached_tokens": each.cached_tokens if each.cached_counted else None,
        "tokens_per_chunk": each.tokens_per_chunk,
        **times,
        "normalized_latency_s": _dict(each.normalized_s),
        "sent_late_s": each.sent_late_s,
        "repeats": _repeats(each.occasions.repeats()),
        "slowest": [asdict(one) for one in each.slowest_first],
    }


def _times_dict(times: Latencies) -> dict[str, object]:
    quantiles = {f"p{100 * share:g}": asdict(one) for share, one in zip(SHARES, times.quantiles, strict=True)}
    return {"mean": asdict(times.mean), **quantiles, "min": times.least, "max": times.greatest}


def _dict(figure: Estimate | None) -> dict[str, object] | None:
    return asdict(figure) if figure else None


def _repeats(repeats: Repeats | None) -> dict[str, object] | None:
    return {**asdict(repeats), "ratio": _dict(repeats.ratio)} if repeats else None
