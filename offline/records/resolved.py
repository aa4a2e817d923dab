"""What an engine made of its arguments, as it resolved them; None where this vLLM does not have the setting."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from probes.columns import column


@dataclass(frozen=True)
class Resolved:
    """vLLM's resolved configuration, as far as a run records it."""

    dtype: str | None = field(metadata=column("number format of weights and activations"))
    max_model_len: int | None = field(metadata=column("longest request, prompt and output together", "tokens"))
    enforce_eager: bool | None = field(metadata=column("whether the model runs without compilation and graphs"))
    load_format: str | None = field(metadata=column("where weights come from; `dummy` is random"))
    block_size: int | None = field(metadata=column("KV block size in vLLM's configuration", "tokens"))
    effective_block_size: int | None = field(metadata=column("KV block size that the attention layers use", "tokens"))
    kv_blocks: int | None = field(metadata=column("KV blocks of the engine, its null block included", "blocks"))
    kv_tokens: int | None = field(metadata=column("tokens that the KV cache has room for", "tokens"))
    kv_cache_dtype: str | None = field(metadata=column("number format of the KV cache"))
    kv_cache_memory_bytes: int | None = field(metadata=column("memory asked for the KV cache", "bytes"))
    enable_prefix_caching: bool | None = field(metadata=column("whether prefixes are cached"))
    max_num_batched_tokens: int | None = field(metadata=column("token budget of a step", "tokens"))
    max_num_seqs: int | None = field(metadata=column("most requests that run at once", "requests"))
    enable_chunked_prefill: bool | None = field(metadata=column("whether a prompt may be computed over several steps"))
    long_prefill_token_threshold: int | None = field(metadata=column("longest part of a prompt in one step", "tokens"))
    scheduler_reserve_full_isl: bool | None = field(metadata=column("whether admission needs room for a whole prompt"))
    watermark: float | None = field(metadata=column("share of the KV blocks kept free at admission"))
    async_scheduling: bool | None = field(metadata=column("whether a step is scheduled before the last one is back"))
    scheduling_policy: str | None = field(metadata=column("order of the waiting requests"))
    tensor_parallel_size: int | None = field(metadata=column("workers that share each layer"))
    pipeline_parallel_size: int | None = field(metadata=column("stages that the layers are divided into"))
    distributed_executor_backend: str | None = field(metadata=column("how the core runs its workers"))
    compilation_mode: str | int | None = field(metadata=column("vLLM's compilation mode"))
    cudagraph_mode: str | None = field(metadata=column("which steps run as CUDA graphs"))
    device: str | None = field(metadata=column("kind of device"))
    v2_model_runner: bool | None = field(metadata=column("whether Model Runner V2 is used"))
    speculative: str | None = field(metadata=column("speculative decoding, as vLLM describes it"))
    start_method: str | None = field(metadata=column("how worker processes are started"))
    multiprocessing: bool | None = field(metadata=column("whether the core has a process of its own"))
    quantization: str | None = field(default=None, metadata=column("how weights are quantized, as vLLM names it"))
    has_inner_state: bool | None = field(
        default=None, metadata=column("whether layers keep a state in place of a KV cache, as vLLM knows the model")
    )


UNKNOWN = Resolved(**{each.name: None for each in fields(Resolved)})
