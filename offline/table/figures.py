"""The figures of one trial, computed on reading from what was recorded of it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from statistics import fmean

from offline.records.lines import TrialRecord
from offline.table.statistics import percentile
from probes.columns import column
from probes.jsonform import read_record
from tracing.events.step import GC_PAUSE, STEP, Step

Figures = dict[str, float | None]  # fields of `TrialFigures`
PERCENTILES = (("p50", 0.50), ("p95", 0.95), ("p99", 0.99))
PER_REQUEST = ("latency_s", "ttft_s", "tpot_s", "queue_s", "prefill_s", "decode_s")
# Of times of which percentiles are taken: meaning and formula.
LATENCY = ("time from a request's arrival to its last token", "ttft_s + last_token_s - first_token_s")
TTFT = ("time to the first token, as the front end sees it", "ttft_s")
TPOT = ("time a token after the first one", "(last_token_s - first_token_s) / (generated_tokens - 1)")
QUEUE = ("wait in the core before the first scheduling", "scheduled_s - queued_s")
PREFILL = ("first scheduling to first token", "first_token_s - scheduled_s")
DECODE = ("first token to last token", "last_token_s - first_token_s")
ITL = (
    "time between a request's outputs, from the step log without first decodes",
    "gaps between the ends of steps, by requests that waited",
)


def _share(percentile_name: str, time: tuple[str, str]) -> Mapping[str, tuple[str, str, str]]:
    meaning, formula = time
    return column(f"{meaning}, {percentile_name}", "s", formula)


@dataclass(frozen=True)
class TrialFigures:
    """One trial; None where it says nothing of a figure."""

    output_tok_s: float = field(
        metadata=column(
            "generated tokens a second of the whole batch, prefill included", "tok/s", "generated_tokens / elapsed_s"
        )
    )
    total_tok_s: float = field(
        metadata=column("prompt and generated tokens a second", "tok/s", "(prompt + generated tokens) / elapsed_s")
    )
    elapsed_s: float = field(metadata=column("time of the batch", "s", "end_ns - start_ns"))
    latency_s_p50: float | None = field(metadata=_share("median", LATENCY))
    latency_s_p95: float | None = field(metadata=_share("95th percentile", LATENCY))
    latency_s_p99: float | None = field(metadata=_share("99th percentile", LATENCY))
    ttft_s_p50: float | None = field(metadata=_share("median", TTFT))
    ttft_s_p95: float | None = field(metadata=_share("95th percentile", TTFT))
    ttft_s_p99: float | None = field(metadata=_share("99th percentile", TTFT))
    tpot_s_p50: float | None = field(metadata=_share("median", TPOT))
    tpot_s_p95: float | None = field(metadata=_share("95th percentile", TPOT))
    tpot_s_p99: float | None = field(metadata=_share("99th percentile", TPOT))
    queue_s_p50: float | None = field(metadata=_share("median", QUEUE))
    queue_s_p95: float | None = field(metadata=_share("95th percentile", QUEUE))
    queue_s_p99: float | None = field(metadata=_share("99th percentile", QUEUE))
    prefill_s_p50: float | None = field(metadata=_share("median", PREFILL))
    prefill_s_p95: float | None = field(metadata=_share("95th percentile", PREFILL))
    prefill_s_p99: float | None = field(metadata=_share("99th percentile", PREFILL))
    decode_s_p50: float | None = field(metadata=_share("median", DECODE))
    decode_s_p95: float | None = field(metadata=_share("95th percentile", DECODE))
    decode_s_p99: float | None = field(metadata=_share("99th percentile", DECODE))
    itl_s_p50: float | None = field(metadata=_share("median", ITL))
    itl_s_p95: float | None = field(metadata=_share("95th percentile", ITL))
    itl_s_p99: float | None = field(metadata=_share("99th percentile", ITL))
    output_tokens_mean: float | None = field(
        metadata=column(
            "tokens of an output after a request's first; above 1 with speculation",
            "tokens",
            "(generated_tokens - requests) / outputs of decode steps",
        )
    )
    itl_token_s_mean: float | None = field(
        metadata=column("time between tokens, mean; apart from itl_s with speculation only", "s", "itl / output_tokens")
    )
    cached_tokens: int = field(metadata=column("prompt tokens found in the prefix cache", "tokens", "prefix_hits"))
    running_mean: float | None = field(metadata=column("requests that ran in a step, mean over steps", "requests"))
    running_max: int | None = field(metadata=column("most requests that ran in a step", "requests"))
    waiting_max: int | None = field(metadata=column("most requests that waited after scheduling", "requests"))
    preemptions: int = field(metadata=column("times that a running request was sent back to wait"))
    kv_used_blocks_max: int | None = field(metadata=column("most KV blocks in use after scheduling", "blocks"))
    prefill_steps: int = field(metadata=column("steps that only prefilled", "steps"))
    mixed_steps: int = field(metadata=column("steps that prefilled and decoded", "steps"))
    decode_steps: int = field(metadata=column("steps that only decoded", "steps"))
    gpu_utilization_percent: float | None = field(
        metadata=column("share of time in which a kernel ran, mean over the visible GPUs", "%")
    )
    gpu_power_w: float | None = field(metadata=column("power of all visible GPUs", "W"))
    gpu_memory_share: float | None = field(
        metadata=column("memory in use on the fullest visible GPU, of all its memory")
    )
    gc_pause_s: float = field(metadata=column("pauses of the core's garbage collector", "s", "sum over the batch"))
    reference_s: float = field(
        metadata=column("the fixed kernel on the CPU beside the batch", "s", "mean of reference_ns")
    )
    gpu_reference_s: float | None = field(
        metadata=column(
            "the fixed kernel on the slowest of the engine's GPUs beside the batch",
            "s",
            "mean over readings of the medians of memory_ns and compute_ns, added",
        )
    )


FIGURES = tuple(each.name for each in fields(TrialFigures))


def measure(trial: TrialRecord) -> TrialFigures:
    """The figures of one trial."""
    log = trial.step_log()
    steps = [s for s in log if s.kind == STEP and s.prefill_requests + s.decode_requests]
    prompted = sum(request.prompt_tokens for request in trial.requests)
    whole: Figures = {
        "output_tok_s": trial.output_tok_s,
        "total_tok_s": (trial.generated_tokens + prompted) / trial.elapsed_s,
        "elapsed_s": trial.elapsed_s,
        "cached_tokens": trial.prefix_hits,
        "preemptions": trial.preemptions,
        "gc_pause_s": sum(s.end_ns - s.start_ns for s in log if s.kind == GC_PAUSE) / 1e9,
        "reference_s": trial.reference_s,
        "gpu_reference_s": trial.gpu_reference_s,
    }
    by_step = _percentiles(trial, steps) | _per_output(trial, steps) | _counts(steps)
    return read_record(TrialFigures, whole | by_step | _devices(trial))


def _percentiles(trial: TrialRecord, steps: Sequence[Step]) -> Figures:
    figures: Figures = {}
    for name in PER_REQUEST:
        values = [value for request in trial.requests if (value := getattr(request, name)) is not None]
        figures |= {f"{name}_{label}": percentile(values, share) for label, share in PERCENTILES}
    gaps, weights = inter_token(steps)
    return figures | {f"itl_s_{label}": percentile(gaps, share, weights) for label, share in PERCENTILES}


def _devices(trial: TrialRecord) -> Figures:
    return {
        "gpu_utilization_percent": _of_all([each.utilization_percent for each in trial.devices], fmean),
        "gpu_power_w": _of_all([each.power_w for each in trial.devices], sum),
        "gpu_memory_share": _of_all([each.used_share for each in trial.devices], max),
    }


def _of_all(values: Sequence[float | None], summary: Callable[[list[float]], float]) -> float | None:
    """One figure for all GPUs; None where that of any is not known."""
    known = [value for value in values if value is not None]
    return summary(known) if known and len(known) == len(values) else None


def _per_output(trial: TrialRecord, steps: Sequence[Step]) -> Figures:
    """How many tokens an output holds, and the mean time between tokens; None where nothing was decoded."""
    outputs = sum(step.decode_requests for step in steps)
    tokens = (trial.generated_tokens - len(trial.requests)) / outputs if outputs else None
    gaps, weights = inter_token(steps)
    if not tokens or not weights:
        return {"output_tokens_mean": tokens, "itl_token_s_mean": None}
    waited = sum(gap * weight for gap, weight in zip(gaps, weights, strict=True))
    return {"output_tokens_mean": tokens, "itl_token_s_mean": waited / sum(weights) / tokens}


def _counts(steps: Sequence[Step]) -> Figures:
    running = [s.prefill_requests + s.decode_requests for s in steps]
    return {
        "running_mean": sum(running) / len(running) if running else None,
        "running_max": max(running, default=None),
        "waiting_max": max((s.waiting for s in steps), default=None),
        "kv_used_blocks_max": max((s.kv_used_blocks for s in steps), default=None),
        "prefill_steps": sum(1 for s in steps if not s.decode_requests),
        "mixed_steps": sum(1 for s in steps if s.prefill_requests and s.decode_requests),
        "decode_steps": sum(1 for s in steps if not s.prefill_requests),
    }


def inter_token(steps: Sequence[Step]) -> tuple[list[float], list[float]]:
    """Gaps between the ends of neighbouring steps (seconds) and how many requests waited through each for a token.

    A request's first decode is left out: its gap holds the rest of the prefills of its batch.
    """
    gaps, weights = [], []
    for before, step in itertools.pairwise(steps):
        if step.decode_requests > step.first_decodes:
            gaps.append((step.end_ns - before.end_ns) / 1e9)
            weights.append(float(step.decode_requests - step.first_decodes))
    return gaps, weights


def histogram(trials: Sequence[TrialRecord]) -> str:
    """What ran, over all trials: `16x45 15x3` says that 45 steps ran 16 requests and 3 ran 15."""
    logs = [trial.step_log() for trial in trials]
    counts = Counter(s.prefill_requests + s.decode_requests for log in logs for s in log if s.kind == STEP)
    counts.pop(0, None)
    return " ".join(f"{running}x{steps}" for running, steps in sorted(counts.items(), reverse=True))
