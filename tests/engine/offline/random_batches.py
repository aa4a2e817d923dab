"""Random batches that share prefixes, run on the real engine and in the simulator, count by count."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from offline.expected.tokens import Batch, CacheConfig, PrefixCache
from probes.checkpoint import two_layer_model
from probes.processes.group import end_group
from tests.engine.recording import FORKED, ROOT

BLOCK = 32  # tokens: CPU attention takes multiples of 32 only
TIME_LIMIT_S = 900  # below pytest's own limit
PLAIN: dict[str, Any] = {
    "load_format": "dummy",
    "dtype": "float32",
    "enforce_eager": True,
    "block_size": BLOCK,
    "seed": 0,
}
PLAIN |= {"enable_prefix_caching": True, "disable_log_stats": False, "async_scheduling": False}
PLAIN |= {"kv_cache_memory_bytes": 1 << 28}  # 64 KiB a block of the two-layer model: 4096 blocks

# Room for everything, and requests that trickle in while the core steps: the count must not depend on that.
AMPLE: dict[str, Any] = {"max_model_len": 1024, "max_num_batched_tokens": 256, "max_num_seqs": 6}
# 19 usable blocks for up to six requests of up to 11 blocks: eviction and preemption.
TIGHT: dict[str, Any] = {
    "max_model_len": 384,
    "max_num_batched_tokens": 128,
    "max_num_seqs": 6,
    "num_gpu_blocks_override": 20,
}
# The settings that are off by default, and the core in this process, so that every step can be compared.
ODD: dict[str, Any] = {
    "max_model_len": 384,
    "max_num_batched_tokens": 112,
    "max_num_seqs": 6,
    "num_gpu_blocks_override": 20,
}
ODD |= {"long_prefill_token_threshold": 40, "watermark": 0.1, "scheduler_reserve_full_isl": False}


@dataclass(frozen=True)
class Workload:
    """Seeded batches on one engine; `paused` queues a batch as a whole, `in_process` keeps the core in one process."""

    name: str
    settings: dict[str, Any]
    seed: int
    most_tokens: int
    paused: bool
    in_process: bool


WORKLOADS = (
    Workload("ample-memory-requests-trickling-in", AMPLE, 101, 24, paused=False, in_process=False),
    Workload("tight-memory-queued-while-paused", TIGHT, 202, 32, paused=True, in_process=False),
    Workload("odd-settings-step-by-step", ODD, 303, 32, paused=False, in_process=True),
)


def random_prompt(rng: random.Random, documents: list[list[int]], earlier: list[list[int]]) -> list[int]:
    """40-300 tokens: a document's head (often whole blocks of it) and a tail of its own, or an earlier prompt again."""
    if earlier and rng.random() < 0.15:
        return rng.choice(earlier)
    head = rng.choice((0, rng.randrange(250), BLOCK * rng.randrange(8)))
    tail = rng.choice((rng.randrange(1, 50), BLOCK))
    if head + tail < 40:
        tail += BLOCK
    return rng.choice(documents)[:head] + rng.choices(range(1000, 40000), k=tail)


def random_batches(seed: int, most_tokens: int, count: int) -> list[dict[str, Any]]:
    """Batches of 4-10 requests that share heads within a batch and across batches; about one in eight starts afresh."""
    rng = random.Random(seed)
    batches: list[dict[str, Any]] = []
    earlier: list[list[int]] = []
    for number in range(count):
        if number % 15 == 0:
            documents = [rng.choices(range(1000, 40000), k=250) for _ in range(4)]
        prompts: list[list[int]] = []
        for _ in range(rng.randint(4, 10)):
            prompts.append(random_prompt(rng, documents, earlier + prompts))
        lengths = [rng.randint(1, most_tokens) for _ in prompts]
        batches.append({"reset": rng.random() < 0.12, "prompts": prompts, "max_tokens": lengths})
        earlier = prompts
    return batches


def run_engines(folder: Path, work: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run the workloads on an engine each, one after the other in one process."""
    source, target = folder / "asked.json", folder / "measured.json"
    source.write_text(json.dumps(work))
    quiet = {"VLLM_LOGGING_LEVEL": "WARNING", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    quiet |= {"VLLM_DO_NOT_TRACK": "1", "VLLM_PLUGINS": "forking"} | FORKED
    command = [
        sys.executable,
        str(ROOT / "tests" / "engine" / "offline" / "engine_workloads.py"),
        str(source),
        str(target),
    ]
    log = folder / "engine.log"
    with log.open("w") as out:  # a group of its own, so that nothing of the engine outlives the test
        child = subprocess.Popen(command, env=os.environ | quiet, stdout=out, stderr=out, start_new_session=True)
        try:
            code = child.wait(TIME_LIMIT_S)
        finally:
            end_group(child.pid)
            child.wait()
    assert code == 0, log.read_text()[-4000:]
    answers: list[dict[str, Any]] = json.loads(target.read_text())
    return answers


def simulate(config: CacheConfig, batches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The counts of each batch in the simulator, and the tokens of every step."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        return _simulate(config, batches, monkeypatch)


def _simulate(
    config: CacheConfig, batches: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, Any]]:
    step, step_tokens = Batch.step, []

    def watched(batch: Batch) -> int:
        step_tokens.append(step(batch))
        return step_tokens[-1]

    monkeypatch.setattr(Batch, "step", watched)
    cache, expected = PrefixCache(config), []
    for batch in batches:
        if batch["reset"]:
            cache.reset()
        step_tokens.clear()
        outcome = cache.run(batch["prompts"], batch["max_tokens"])
        assert outcome.steps == len(step_tokens)
        counts: dict[str, Any] = {
            "hits": outcome.total,
            "queries": sum(map(len, batch["prompts"])),
            "preemptions": outcome.preemptions,
        }
        counts |= {"cached": list(outcome.cached_tokens), "step_tokens": list(step_tokens)}
        expected.append(counts | {"timing_free": outcome.timing_free})
    return expected


@dataclass(frozen=True)
class Comparison:
    """What the engine measured and the simulator expected of each batch of a workload."""

    workload: Workload
    measured: list[dict[str, Any]]
    expected: list[dict[str, Any]]

    def differences(self) -> list[str]:
        """A line for each count that differs."""
        lines = []
        for number, (want, got) in enumerate(zip(self.expected, self.measured, strict=True)):
            names = [name for name in got if got[name] is not None and got[name] != want[name]]
            lines += [
                f"seed {self.workload.seed}, batch {number}, {name}: {got[name]}, not {want[name]}" for name in names
            ]
        return lines

    def total(self, name: str) -> int:
        """A count over all batches, as expected."""
        return sum(want[name] for want in self.expected)


def compare(folder: Path, workloads: Sequence[Workload], batches: int) -> dict[str, Comparison]:
    """Run `batches` batches of each workload on an engine and in the simulator."""
    model = {"model": str(two_layer_model())}
    work = [
        {
            "engine": PLAIN | workload.settings | model,
            "paused": workload.paused,
            "in_process": workload.in_process,
            "batches": random_batches(workload.seed, workload.most_tokens, batches),
        }
        for workload in workloads
    ]
    return {
        workload.name: Comparison(
            workload, answer["measured"], simulate(CacheConfig(**answer["resolved"]), run["batches"])
        )
        for workload, run, answer in zip(workloads, work, run_engines(folder, work), strict=True)
    }
