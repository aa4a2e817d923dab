"""Where the arithmetic of cached tokens holds: one pool of blocks for whole contexts, first come, first served."""

from __future__ import annotations

from collections.abc import Iterator

from offline.records.resolved import Resolved
from offline.spec.settings import EngineSettings
from probes.hub.hubmodel import ModelFile

KINDS = {"sliding": "sliding-window layers", "chunked": "layers of chunked attention"}
STATEFUL = ("mamba", "linear", "recurrent", "rwkv")


def why_unknown(settings: EngineSettings, resolved: Resolved, model_config: ModelFile | None) -> str:
    """Why the expected number of cached tokens is not known for an engine; empty where it is."""
    return next(_reasons(settings, resolved, model_config or {}), "")


def _reasons(settings: EngineSettings, resolved: Resolved, model_config: ModelFile) -> Iterator[str]:
    if resolved.speculative is not None:
        yield "speculative decoding takes blocks for drafts"
    if resolved.scheduling_policy != "fcfs":
        yield f"scheduling policy {resolved.scheduling_policy}"
    if settings.get("kv_transfer_config"):
        yield "a KV connector brings blocks of its own"
    for name in ("decode_context_parallel_size", "prefill_context_parallel_size"):
        if int(settings.get(name) or 1) > 1:
            yield "context parallelism divides blocks over ranks"
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
        yield "layers that keep a state in place of a KV cache"
    if not config.get("layer_types") and config.get("sliding_window") and config.get("use_sliding_window", True):
        yield KINDS["sliding"]
