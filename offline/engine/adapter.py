"""The adapter to vLLM: everything that this room names inside it, checked here and imported nowhere else.

`python -m offline.engine` reads engine arguments as JSON on stdin and prints what vLLM's own types make of them.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, fields
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from offline.records.lines import RequestRecord
from offline.records.resolved import Resolved
from offline.spec.settings import EngineSettings
from offline.spec.spec import nearest
from probes.hub.hubmodel import ModelFile
from probes.processes.dialogue import Message

# Resolved settings a run records, and where vLLM 0.31-0.33 keeps them below `VllmConfig`.
RESOLVED = {
    "dtype": "model_config.dtype",
    "max_model_len": "model_config.max_model_len",
    "enforce_eager": "model_config.enforce_eager",
    "load_format": "load_config.load_format",
    "block_size": "cache_config.block_size",
    "effective_block_size": "cache_config.effective_attention_block_size",
    "kv_blocks": "cache_config.num_gpu_blocks",
    "kv_tokens": "cache_config.kv_cache_size_tokens",
    "kv_cache_dtype": "cache_config.cache_dtype",
    "kv_cache_memory_bytes": "cache_config.kv_cache_memory_bytes",
    "enable_prefix_caching": "cache_config.enable_prefix_caching",
    "max_num_batched_tokens": "scheduler_config.max_num_batched_tokens",
    "max_num_seqs": "scheduler_config.max_num_seqs",
    "enable_chunked_prefill": "scheduler_config.enable_chunked_prefill",
    "long_prefill_token_threshold": "scheduler_config.long_prefill_token_threshold",
    "scheduler_reserve_full_isl": "scheduler_config.scheduler_reserve_full_isl",
    "watermark": "scheduler_config.watermark",
    "async_scheduling": "scheduler_config.async_scheduling",
    "scheduling_policy": "scheduler_config.policy",
    "tensor_parallel_size": "parallel_config.tensor_parallel_size",
    "pipeline_parallel_size": "parallel_config.pipeline_parallel_size",
    "distributed_executor_backend": "parallel_config.distributed_executor_backend",
    "compilation_mode": "compilation_config.mode",
    "cudagraph_mode": "compilation_config.cudagraph_mode",
    "device": "device_config.device_type",
    "v2_model_runner": "use_v2_model_runner",
    "speculative": "speculative_config",
    "quantization": "model_config.quantization",
    "has_inner_state": "model_config.has_inner_state",
}
# Each worker gets the kernel that is timed on its device: vLLM adds the class to its bases and calls methods by name.
WORKER_EXTENSION = {"worker_extension_cls": "offline.engine.devicekernel.DeviceKernel"}
DEVICE_KERNEL = "enginescope_device_kernel"
COUNTERS = {
    "prefix_queries": "vllm:prefix_cache_queries",
    "prefix_hits": "vllm:prefix_cache_hits",
    "preemptions": "vllm:num_preemptions",
}


@dataclass(frozen=True)
class GeneratedBatch:
    """What came of one batch."""

    start_ns: int
    end_ns: int
    requests: tuple[RequestRecord, ...]


class Engine:
    """One `vllm.LLM`, driven with token ids; times are CLOCK_MONOTONIC nanoseconds unless the name says otherwise."""

    def __init__(self, settings: EngineSettings) -> None:
        self.import_start_ns = time.monotonic_ns()
        from vllm import LLM, SamplingParams

        self._sampling = SamplingParams
        self.start_ns = time.monotonic_ns()
        # Log stats on: without them a request carries no times. The same in every arm.
        self.llm = LLM(**WORKER_EXTENSION | settings, disable_log_stats=False)
        self.ready_ns = time.monotonic_ns()

    @property
    def vocabulary(self) -> int:
        return int(self.llm.llm_engine.model_config.get_vocab_size())

    def resolved(self) -> Resolved:
        """What the engine made of its arguments."""
        return resolved_of(self.llm.llm_engine.vllm_config)

    def model_config(self) -> ModelFile | None:
        """The model's own configuration as the engine holds it, overrides and defaults included."""
        config = getattr(self.llm.llm_engine.model_config, "hf_config", None)
        return json.loads(json.dumps(config.to_dict(), default=str)) if config is not None else None

    def reset_prefix_cache(self) -> bool:
        """Forget all cached prefixes; False when the engine still holds blocks and did not."""
        return bool(self.llm.reset_prefix_cache())

    def counters(self) -> dict[str, int]:
        """Life-time totals of prefix-cache queries and hits (tokens) and of preemptions."""
        totals = dict.fromkeys(COUNTERS, 0)
        names = {metric: name for name, metric in COUNTERS.items()}
        for metric in self.llm.get_metrics():
            if metric.name in names:
                totals[names[metric.name]] += int(metric.value)
        return totals

    def device_kernels(self) -> list[Message]:
        """The fixed kernel on the device of each worker, as `DeviceKernel` answers: a reading, or why there is none."""
        if not hasattr(self.llm, "collective_rpc"):
            return [{"note": "this vLLM has no collective_rpc"}]
        try:
            return list(self.llm.collective_rpc(DEVICE_KERNEL))
        except Exception as error:  # vLLM has no narrower class for what fails in its workers
            return [{"note": f"{type(error).__name__}: {error}".splitlines()[0]}]

    def generate(self, prompts: list[list[int]], output_len: int, temperature: float = 0.0) -> GeneratedBatch:
        """Run one batch to exactly `output_len` tokens a request.

        Above temperature 0 the random numbers are the engine's own, by its argument `seed` (vLLM's default is 0): a
        seed of each request would make the sampler work through them one by one.
        """
        parameters = self._sampling(temperature=temperature, max_tokens=output_len, ignore_eos=True)
        inputs = [{"prompt_token_ids": prompt} for prompt in prompts]
        start = time.monotonic_ns()
        outputs = self.llm.generate(inputs, parameters, use_tqdm=False)
        end = time.monotonic_ns()
        return GeneratedBatch(start, end, tuple(_request(output) for output in outputs))

    def answers(self, prompts: list[list[int]], output_len: int) -> tuple[list[list[int]], list[list[float]]]:
        """Greedy tokens and their log probabilities; none of the latter where this configuration does not give them."""
        inputs = [{"prompt_token_ids": prompt} for prompt in prompts]
        greedy = {"temperature": 0.0, "max_tokens": output_len, "ignore_eos": True}
        try:
            outputs = self.llm.generate(inputs, self._sampling(**greedy, logprobs=1), use_tqdm=False)
        except ValueError:  # vLLM's no to log probabilities, before any step
            outputs = self.llm.generate(inputs, self._sampling(**greedy), use_tqdm=False)
        completions = [output.outputs[0] for output in outputs]
        return [list(each.token_ids) for each in completions], [_log_probs(each) for each in completions]

    def tokens(self, prompts: list[list[int]], output_len: int) -> list[list[int]]:
        """Greedy token ids, stopping where the model stops: for tests of correctness."""
        parameters = self._sampling(temperature=0.0, max_tokens=output_len)
        inputs = [{"prompt_token_ids": prompt} for prompt in prompts]
        return [list(o.outputs[0].token_ids) for o in self.llm.generate(inputs, parameters, use_tqdm=False)]

    def close(self) -> None:
        """Shut the engine's processes down and wait for them."""
        self.llm.llm_engine.engine_core.shutdown()


def resolved_of(config: Any) -> Resolved:
    """What a run records of a `VllmConfig`, as it is in this process."""
    return Resolved(
        **{name: _plain(_follow(config, path)) for name, path in RESOLVED.items()},
        start_method=os.environ.get("VLLM_WORKER_MULTIPROC_METHOD", "fork"),
        multiprocessing=os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING", "1") == "1",
    )


def _request(output: Any) -> RequestRecord:
    """One finished request: its stamps, which are the core's, and `ttft_s`, which is the front end's."""
    stats, completion = output.metrics, output.outputs[0]
    return RequestRecord(
        prompt_tokens=len(output.prompt_token_ids),
        cached_tokens=output.num_cached_tokens,
        generated_tokens=len(completion.token_ids),
        finish_reason=completion.finish_reason,
        queued_s=stats.queued_ts,
        scheduled_s=stats.scheduled_ts,
        first_token_s=stats.first_token_ts,
        last_token_s=stats.last_token_ts,
        ttft_s=stats.first_token_latency,
    )


def _log_probs(completion: Any) -> list[float]:
    given = getattr(completion, "logprobs", None) or []
    return [float(each[token].logprob) for token, each in zip(completion.token_ids, given, strict=False)]


def _follow(root: Any, path: str) -> Any:
    for name in path.split("."):
        root = getattr(root, name, None)
    return root


def _plain(value: Any) -> Any:
    """A configuration value as JSON can hold it: enums by name, torch dtypes without their module."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return getattr(value, "name", None) or str(value).removeprefix("torch.")


# --- checking engine arguments against the installed vLLM ---


def check(asked: dict[str, list[Any]]) -> dict[str, Any]:
    """Type engine arguments by vLLM's own annotations: `{"typed": …}` or `{"problem": one line}`."""
    from vllm.engine.arg_utils import EngineArgs

    hints = {field.name: field.type for field in fields(EngineArgs)}
    typed: dict[str, list[Any]] = {}
    for key, values in asked.items():
        if key not in hints:
            import vllm

            return {"problem": f"vLLM {vllm.__version__} has no engine argument {key!r}{nearest(key, hints)}"}
        typed[key] = []
        for value in values:
            typed_value, problem = _typed(hints[key], value)
            if problem:
                return {"problem": f"--engine {key}={value}: {problem}"}
            typed[key].append(typed_value)
    return {"typed": typed}


def _typed(hint: Any, value: Any) -> tuple[Any, str | None]:
    from pydantic import ValidationError

    if isinstance(value, str) and value.lower() == "none" and NoneType in get_args(hint):
        return None, None
    try:
        typed_value = _adapter(hint).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        choices = [c for c in _choices(hint) if isinstance(c, str)]
        return None, f"{first['msg'][0].lower()}{first['msg'][1:]}{nearest(str(value), choices)}"
    # A mapping that vLLM turns into an object of its own goes through as it was written.
    return (value if isinstance(value, (dict, list)) else typed_value), None


def _adapter(hint: Any) -> Any:
    """Pydantic's reader for one of vLLM's annotations; a type that names what only type checkers see takes anything."""
    from pydantic import ConfigDict, TypeAdapter
    from pydantic.errors import PydanticUserError

    for config in (ConfigDict(arbitrary_types_allowed=True), None):
        try:
            adapter = TypeAdapter(hint, config=config)
            adapter.rebuild()
            return adapter
        except (PydanticUserError, NameError):
            continue
    return TypeAdapter(Any)


def _choices(hint: Any) -> list[Any]:
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [choice for part in get_args(hint) for choice in _choices(part)]
