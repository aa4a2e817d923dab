"""Runs batches of token ids on real engines and writes what their prefix caches did: python engine_workloads.py IN OUT.

IN: a list of {"engine": LLM's arguments, "paused": bool, "in_process": bool,
"batches": [{"reset": bool, "prompts": [[id]], "max_tokens": [n]}]}, one engine after the other.
OUT: a list of {"resolved": CacheConfig's fields,
"measured": [{"hits", "queries", "preemptions", "cached", "step_tokens"}]}.
With `paused`, a batch is queued as a whole before the engine steps. Steps are seen where the core is in this process,
else `step_tokens` is null.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

COUNTERS = {
    "hits": "vllm:prefix_cache_hits",
    "queries": "vllm:prefix_cache_queries",
    "preemptions": "vllm:num_preemptions",
}


def resolved(llm: Any) -> dict[str, Any]:
    cache, scheduler = llm.llm_engine.vllm_config.cache_config, llm.llm_engine.vllm_config.scheduler_config
    assert not scheduler.async_scheduling and scheduler.max_num_scheduled_tokens is None
    names = ("max_num_batched_tokens", "max_num_seqs", "enable_chunked_prefill", "long_prefill_token_threshold")
    return {name: getattr(scheduler, name) for name in names} | {
        "block_size": cache.block_size,
        "num_blocks": cache.num_gpu_blocks,
        "enable_prefix_caching": cache.enable_prefix_caching,
        "max_model_len": llm.llm_engine.vllm_config.model_config.max_model_len,
        "reserve_full_isl": scheduler.scheduler_reserve_full_isl,
        "watermark": scheduler.watermark,
    }


def watch_steps(llm: Any) -> list[int] | None:
    """A list that grows by the tokens of every step, or None where the core is another process."""
    core = getattr(llm.llm_engine.engine_core, "engine_core", None)
    if core is None:
        return None
    tokens: list[int] = []
    schedule = core.scheduler.schedule

    def watched(*args: Any, **kwargs: Any) -> Any:
        output = schedule(*args, **kwargs)
        if output.total_num_scheduled_tokens:
            tokens.append(output.total_num_scheduled_tokens)
        return output

    core.scheduler.schedule = watched
    return tokens


def counters(llm: Any) -> dict[str, int]:
    values = {metric.name: metric.value for metric in llm.get_metrics() if metric.name in COUNTERS.values()}
    return {name: int(values[metric]) for name, metric in COUNTERS.items()}


def generate(llm: Any, batch: dict[str, Any], paused: bool) -> list[int]:
    """Run one batch; the cached tokens of each request."""
    from vllm import SamplingParams

    prompts = [{"prompt_token_ids": ids} for ids in batch["prompts"]]
    # Sampled at random, so that equal prompts do not generate equal blocks.
    params = [
        SamplingParams(temperature=1.0, ignore_eos=True, max_tokens=n, detokenize=False) for n in batch["max_tokens"]
    ]
    if not paused:
        outputs = llm.generate(prompts, params, use_tqdm=False)
    else:
        llm.sleep(level=0)
        llm.enqueue(prompts, params, use_tqdm=False)
        llm.wake_up(tags=["scheduling"])
        outputs = llm.wait_for_completion(use_tqdm=False)
    assert [len(output.outputs[0].token_ids) for output in outputs] == batch["max_tokens"]
    return [output.num_cached_tokens for output in outputs]


def run(workload: dict[str, Any]) -> dict[str, Any]:
    """Start an engine, run a workload's batches on it and stop it."""
    from vllm import LLM

    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = str(int(not workload["in_process"]))
    llm = LLM(**workload["engine"])
    steps = watch_steps(llm)
    measured = []
    for batch in workload["batches"]:
        if batch["reset"]:
            assert llm.reset_prefix_cache()
        before, first = counters(llm), len(steps or ())
        cached = generate(llm, batch, workload["paused"])
        delta = {name: value - before[name] for name, value in counters(llm).items()}
        measured.append(delta | {"cached": cached, "step_tokens": None if steps is None else steps[first:]})
    answer = {"resolved": resolved(llm), "measured": measured}
    llm.llm_engine.engine_core.shutdown()
    return answer


def main() -> None:
    source, target = map(Path, sys.argv[1:])
    target.write_text(json.dumps([run(workload) for workload in json.loads(source.read_text())]))
    os._exit(0)  # Python takes seconds to put vLLM's modules away


if __name__ == "__main__":
    main()
