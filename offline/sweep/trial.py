"""One trial, as the sweep sees it: the warm-up before it, the record of it, and the cached tokens to be expected."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace

from offline.expected.conditions import why_unknown
from offline.expected.tokens import CacheConfig, PrefixCache
from offline.records.lines import AnswersRecord, DeviceUse, StartRecord, TrialRecord
from offline.records.runfolder import RunFolder
from offline.records.traced import TracedRecord
from offline.spec.grid import Arm, Cell, Trial, seed_of
from offline.spec.prompts import workload
from offline.spec.spec import Spec
from probes.errors import EnginescopeError
from probes.jsonform import read_record
from probes.processes.dialogue import Message
from probes.processes.engine import EngineFailed, EngineProcess
from tracing.breakdown.requests.window import window_times

WARM_UP_S = 3.0
WARM_UP_ROUNDS = 10
ANSWER_LEN = 32


def warm_up(spec: Spec, arm: Arm, cells: Sequence[Cell], process: EngineProcess, engine: int, limit_s: float) -> None:
    """Run each cell at its own shape, unmeasured: at least once, and round after round until the engine has settled.

    A fresh engine gets faster over its first ten batches or so, which is seconds of work on a small model.
    """
    began = time.monotonic()
    for number in range(WARM_UP_ROUNDS):
        if number and time.monotonic() - began > WARM_UP_S:
            break
        for cell in cells:
            # An index that no trial has: warm-up prompts are never measured, in no engine of this run.
            run_untimed(process, cell, seed_of(spec, arm, cell, -1 - engine * WARM_UP_ROUNDS - number), limit_s)


def settle(spec: Spec, trial: Trial, process: EngineProcess, limit_s: float) -> None:
    """The untimed trial of an engine that was frozen: its memory comes back into the caches, its threads wake up."""
    run_untimed(process, trial.cell, seed_of(spec, trial.arm, trial.cell, f"untimed {trial.index}"), limit_s)


def run_untimed(process: EngineProcess, cell: Cell, seed: int, limit_s: float) -> None:
    """A batch of the cell's shape that is not measured."""
    process.ask({"do": "warm_up", "cell": asdict(cell), "seed": seed}, limit_s)


def run_timed(process: EngineProcess, trial: Trial, limit_s: float) -> Message:
    """A measured batch: what the engine's process says of it."""
    return process.ask({"do": "trial", "cell": asdict(trial.cell), "seed": trial.seed}, limit_s)


def ask_answers(process: EngineProcess, arm: Arm, start: StartRecord, limit_s: float) -> AnswersRecord:
    """An arm's greedy answers to fixed prompts, untimed."""
    length = min(ANSWER_LEN, (start.resolved.max_model_len or 2 * ANSWER_LEN) // 2)
    answer = process.ask({"do": "answers", "length": length}, limit_s)
    return read_record(AnswersRecord, {"arm": arm.id, "engine": start.engine} | answer)


def trial_record(
    trial: Trial, engine: int, group: int, answer: Message, expected: int | None, devices: tuple[DeviceUse, ...] = ()
) -> TrialRecord:
    """Which trial it was, and everything raw that was measured of it."""
    identity = {"arm": trial.arm.id, "cell": trial.arm.cell_id(trial.cell), "trial": trial.index, "seed": trial.seed}
    tokens = trial.cell.batch_size * trial.cell.output_len
    identity |= {"engine": engine, "group": group, "round": trial.index}
    identity |= {"asked_tokens": tokens, "expected_cached_tokens": expected}
    return replace(read_record(TrialRecord, identity | answer), devices=devices)


def traced_record(trial: Trial, engine: int, group: int, answer: Message, folder: RunFolder) -> TracedRecord:
    """Which recorded trial it was, and what its trace says; `EngineFailed` where no process of the engine recorded."""
    trace, window = folder.trace(engine), (answer["start_ns"], answer["end_ns"])
    try:
        times = window_times(trace, *window)
    except EnginescopeError as error:
        raise EngineFailed(f"its trace cannot be read: {error}") from None
    identity = (trial.arm.id, trial.arm.cell_id(trial.cell), trial.index, engine, group, trial.seed)
    return TracedRecord(*identity, *window, str(trace.relative_to(folder.path)), times)


def prefix_cache(arm: Arm, start: StartRecord) -> PrefixCache | None:
    """The arithmetic's own cache for an engine, or None where it does not hold for it."""
    resolved = start.resolved
    if why_unknown(arm.settings, resolved, start.model_config):
        return None
    config = CacheConfig(
        block_size=resolved.effective_block_size or resolved.block_size or 0,
        num_blocks=resolved.kv_blocks or 0,
        enable_prefix_caching=bool(resolved.enable_prefix_caching),
        max_num_batched_tokens=resolved.max_num_batched_tokens or 0,
        max_num_seqs=resolved.max_num_seqs or 0,
        max_model_len=resolved.max_model_len or 0,
        enable_chunked_prefill=bool(resolved.enable_chunked_prefill),
        long_prefill_token_threshold=resolved.long_prefill_token_threshold or 0,
        reserve_full_isl=bool(resolved.scheduler_reserve_full_isl),
        watermark=resolved.watermark or 0.0,
    )
    return PrefixCache(config)


def expected_tokens(cache: PrefixCache | None, cell: Cell, seed: int, vocabulary: int) -> int | None:
    """Cached tokens that a trial should find, by arithmetic from its prompts; see `offline.expected`."""
    if cache is None:
        return None
    work = workload(cell, seed, vocabulary)
    cache.reset()
    if work.primer is not None:
        cache.run([work.primer], 1)
    return cache.run(work.prompts, cell.output_len).total
