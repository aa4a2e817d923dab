"""The KV cache of an engine: its size as the server tells it, and in bytes by the model's own arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from probes.memory.cachedtype import cache_dtype as dtype_of
from probes.memory.kvblocks import token_bytes
from probes.memory.modelconfig import model_config
from probes.metrics.configuration import whole
from probes.metrics.exposition import Snapshot
from probes.metrics.quantities import CACHE_CONFIG, ENGINE, KV_CACHE_USAGE, gauge


@dataclass(frozen=True)
class KVCache:
    """One engine's KV cache as its server tells it (`cache_config_info`); sizes in tokens and bytes.

    `stated_bytes` is per GPU and there only where it was set; `estimated_bytes` is tokens times the model's arithmetic,
    on all of the engine's GPUs together.
    """

    engine: str
    blocks: int | None
    block_size_tokens: int | None
    tokens: int | None
    used: float | None
    cache_dtype: str | None
    stated_bytes: int | None
    estimated_bytes: int | None


def kv_caches(snapshot: Snapshot, folder: Path | None, dtype: str | None, cards: int = 1) -> list[KVCache]:
    """The KV cache of each engine behind a server, each over so many cards by tensor parallel."""
    caches = []
    for labels in map(dict, snapshot.samples.get(CACHE_CONFIG, {})):
        engine, cache_dtype = labels.get(ENGINE, ""), labels.get("cache_dtype")
        blocks, block_size = whole(labels.get("num_gpu_blocks")), whole(labels.get("block_size"))
        product = blocks * block_size if blocks is not None and block_size is not None else None
        tokens = whole(labels.get("kv_cache_size_tokens")) or product
        on_a_card = kv_bytes_per_token(folder, cache_dtype, dtype, cards) if folder else None
        estimate = cards * on_a_card * tokens if on_a_card and tokens else None
        used = gauge(snapshot, KV_CACHE_USAGE, {ENGINE: engine} if engine else None)
        stated = whole(labels.get("kv_cache_memory_bytes"))
        caches.append(KVCache(engine, blocks, block_size, tokens, used, cache_dtype, stated, estimate))
    return caches


def kv_bytes_per_token(
    folder: Path, cache_dtype: str | None = None, dtype: str | None = None, cards: int = 1
) -> int | None:
    """Keys and values of one token in all layers, in bytes on each of so many cards: those with fewer KV heads than
    cards have each head several times. None for a model whose cache is of another kind."""
    config = model_config(folder)
    kept = dtype_of(config, cache_dtype, dtype)
    return token_bytes(config.kv_layers, kept, cards) if config.kv_values and not isinstance(kept, str) else None
