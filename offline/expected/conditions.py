"""Where the arithmetic of cached tokens holds: one pool of blocks for whole contexts, first come, first served."""

from __future__ import annotations

from collections.abc import Iterator

from offline.records.resolved import Resolved
from offline.spec.settings import EngineSettings
from probes.hub.hubmodel import ModelFile

KINDS = {"sliding": "sliding-window layers", "chunked": "layers of chunked attention"}
STATEFUL = ("mamba", "linear", "recurrent", "rwkv")
STATE = "layers that keep a state in place of a KV cache"
CONNECTORS = ("kv_transfer_config", "kv_offloading_size")  # engine arguments with which blocks come from elsewhere
CONTEXT_PARALLEL = ("decode_context_parallel_size", "prefill_context_parallel_size")
UNMODELLED = (  # those with which requests are scheduled by rules or limits that the arithmetic does not have
    *("scheduler_cls", "prefill_schedule_interval", "long_prefill_token_threshold_adaptive"),
    *("max_num_scheduled_tokens", "max_num_active_seqs"),
)


def why_unknown(settings: EngineSettings, resolved: Resolved, model_config: ModelFile | None) -> str:
    """Why the expected number of cached tokens is not known for an engine; empty where it is."""
    return next(_reasons(settings, resolved, model_config or {}), "")


def _reasons(settings: EngineSettings, resolved: Resolved, model_config: ModelFile) -> Iterator[str]:
    if resolved.speculative is not None:
        yield "speculative decoding takes blocks for drafts"
    if resolved.scheduling_policy != "fcfs":
        yield f"scheduling policy {resolved.scheduling_policy}"
    if any(settings.get(name) for name in CONNECTORS):
        yield "a KV connector brings blocks of its own"
    yield from (f"the arithmetic does not have {name}" for name in UNMODELLED if settings.get(name))
    if any(int(settings.get(name) or 1) > 1 for name in CONTEXT_PARALLEL):
        yield "context parallelism divides blocks over ranks"
    if resolved.has_inner_state:
        yield STATE
    yield from _model_reasons(model_config.get("text_config") or model_config)
    limits = (resolved.max_num_batched_tokens, resolved.max_num_seqs, resolved.max_model_len)
    block_size = resolved.effective_block_size or resolved.block_size
    if None in limits or not block_size or not resolved.kv_blocks:
        yield "this vLLM does not tell its blocks or limits"


def _model_reasons(config: ModelFile) -> Iterator[str]:
    kinds = [config.get("layer_types") or [], config.get("layers_block_type") or [], [config.get("model_type")]]
    layers = [str(layer) for layers in kinds for layer in layers]
    for word, kind in KINDS.items():
        if any(word in layer for layer in layers):
            yield kind
    if any(word in layer for layer in layers for word in STATEFUL):
        yield STATE
    if not config.get("layer_types") and config.get("sliding_window") and config.get("use_sliding_window", True):
        yield KINDS["sliding"]
