"""The floor of a trial's steps and the share of it that was achieved; all of it estimates.

Steps that prefill, mixed ones among them, and steps that only decode are kept apart. A step lasts from the end of the
one before it to its own end, so that what the engine does between steps counts against it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from offline.limit.columns import LimitColumns, LimitFigures
from offline.limit.decoder import NotCovered
from offline.limit.work import ModelWork, StepShape, model_work
from offline.records.lines import StartRecord, TrialRecord
from offline.records.resolved import Resolved
from probes.rates.rates import Rates
from tracing.events.step import STEP, Step


@dataclass(frozen=True)
class Limit:
    """An arm's work and its machine's rates; `note` says what is missing."""

    note: str = ""
    work: ModelWork | None = None
    memory_bytes_s: float = 0.0
    matrix_flop_s: float | None = None

    def columns(self) -> LimitColumns:
        """What stands in the table beside the arm."""
        if self.work is None:
            return LimitColumns(self.note)
        model, weights = self.work.decoder, self.work.weights_bytes(1)
        counts = model.parameters, model.active_parameters, self.work.kv_token_bytes
        return LimitColumns(self.note, *counts, weights, self.memory_bytes_s, self.matrix_flop_s)

    def figures(self, trial: TrialRecord) -> LimitFigures:
        """The figures of one trial of the arm."""
        if self.work is None or trial.steps_lost:
            return LimitFigures()
        prefills, decodes = _timed_steps(trial)
        decode, prefill = self._sums(trial, decodes), self._sums(trial, prefills)
        return LimitFigures(
            mbu=_share(decode.moved_bytes, decode.seconds, self.memory_bytes_s),
            mfu=_share(prefill.operations, prefill.seconds, self.matrix_flop_s),
            decode_floor_s=decode.floor_s,
            decode_share=_share(decode.floor_s, decode.seconds),
            prefill_floor_s=prefill.floor_s,
            prefill_share=_share(prefill.floor_s, prefill.seconds),
        )

    def _sums(self, trial: TrialRecord, steps: Sequence[tuple[Step, float]]) -> _PhaseSums:
        assert self.work is not None
        shapes = [shape(step, trial) for step, _ in steps]
        moved, operations = [self.work.moved_bytes(s) for s in shapes], [self.work.operations(s) for s in shapes]
        floor_s = None
        if self.matrix_flop_s and steps:
            pairs = zip(moved, operations, strict=True)
            floor_s = sum(max(m / self.memory_bytes_s, o / self.matrix_flop_s) for m, o in pairs)
        return _PhaseSums(sum(moved), sum(operations), floor_s, sum(seconds for _, seconds in steps))


@dataclass(frozen=True)
class _PhaseSums:
    """Over some steps of a trial."""

    moved_bytes: float
    operations: float
    floor_s: float | None
    seconds: float


def _share(part: float | None, seconds: float, rate: float | None = 1.0) -> float | None:
    return part / (seconds * rate) if part is not None and seconds and rate else None


def _timed_steps(trial: TrialRecord) -> tuple[list[tuple[Step, float]], list[tuple[Step, float]]]:
    """Steps that prefill and steps that only decode, each with its seconds."""
    steps = [s for s in trial.step_log() if s.kind == STEP and s.prefill_requests + s.decode_requests]
    begins = itertools.chain([s.start_ns for s in steps[:1]], (s.end_ns for s in steps))
    timed = [(step, (step.end_ns - begin) / 1e9) for begin, step in zip(begins, steps, strict=False)]
    return [t for t in timed if t[0].prefill_requests], [t for t in timed if not t[0].prefill_requests]


def shape(step: Step, trial: TrialRecord) -> StepShape:
    """A step's shape, with every request at the mean of its trial.

    A decode reads the keys and values of all tokens before it: prompt + generated / 2 - 1 of them on average, as its
    request goes on. A prefix that requests share in the cache is read once a step. A prefilled token pairs with itself
    and all before it; keys and values that the same step or an earlier part of a prompt wrote are not counted as read.
    """
    requests = trial.requests
    prompt = _mean([r.prompt_tokens for r in requests])
    before = prompt + _mean([r.generated_tokens for r in requests]) / 2 - 1
    cached_tokens = [r.cached_tokens or 0 for r in requests]
    computed = [(r.prompt_tokens - cached, cached) for r, cached in zip(requests, cached_tokens, strict=True)]
    pairs = sum(new * (cached + (new + 1) / 2) for new, cached in computed)
    prefill_context = pairs / max(1, sum(new for new, _ in computed))
    shared = max(cached_tokens)
    own = step.decode_requests * max(0.0, before - shared)
    return StepShape(
        tokens=step.prefill_tokens + step.decode_tokens,
        outputs=step.prefill_requests + step.decode_requests,
        kv_read_tokens=own + shared,
        pairs=step.prefill_tokens * prefill_context + step.decode_tokens * (before + 1),
    )


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)


def limit(start: StartRecord | None, rates: Rates | None) -> Limit:
    """The limit of an arm by one of its engine starts, or a note that says why there is none."""
    try:
        return _limit(start, rates)
    except NotCovered as reason:
        return Limit(f"n/a: {reason}")


def _limit(start: StartRecord | None, rates: Rates | None) -> Limit:
    if start is None:
        raise NotCovered("no engine came up")
    if start.model_config is None:
        raise NotCovered("the run does not hold the model's configuration")
    work, devices = model_work(start.model_config, start.resolved), _devices(start.resolved)
    if rates is None:
        raise NotCovered("the machine's rates were not measured")
    if rates.device != start.resolved.device:
        raise NotCovered(f"the rates are those of {rates.device}, the engine ran on {start.resolved.device}")
    rate = rates.matrix_flop_s.get(work.computed_in)
    note = "" if rate else f"mfu and floors n/a: no matrix rate for {work.computed_in}"
    return Limit(note, work, rates.memory_bytes_s * devices, rate * devices if rate else None)


def _devices(resolved: Resolved) -> int:
    """Devices whose rates add up."""
    if resolved.speculative is not None:
        raise NotCovered("no arithmetic for speculative decoding")
    if (resolved.pipeline_parallel_size or 1) > 1:
        raise NotCovered("no arithmetic for pipeline stages")
    size = resolved.tensor_parallel_size or 1
    if size > 1 and resolved.device == "cpu":
        raise NotCovered("the rates are those of one worker's threads")
    return size
