"""How a server's KV cache is set up, as it tells in the labels of one metric."""

from __future__ import annotations

from dataclasses import dataclass

from probes.metrics.exposition import Snapshot
from probes.metrics.quantities import CACHE_CONFIG

YES, NO = "True", "False"


@dataclass(frozen=True)
class CacheConfiguration:
    """Of one of `engines` alike: blocks of so many tokens, the share of device memory that vLLM may take, what was set
    in bytes instead of that, and whether the prefix cache is on. None is what the server does not tell.
    """

    engines: int
    blocks: int | None
    block_size_tokens: int | None
    memory_share: float | None
    kv_bytes: int | None
    prefix_caching: bool | None

    def line(self) -> str:
        """`91 blocks of 128 tokens (11,648 tokens), 512 MiB as set, prefix caching on`."""
        parts = [self._blocks()]
        if self.kv_bytes:
            parts.append(f"{self.kv_bytes / 2**20:,.0f} MiB as set")
        elif self.memory_share:
            parts.append(f"gpu_memory_utilization {self.memory_share:g}")
        if self.prefix_caching is not None:
            parts.append(f"prefix caching {'on' if self.prefix_caching else 'off'}")
        return ", ".join(parts) + (f"; of each of {self.engines} engines" if self.engines > 1 else "")

    def _blocks(self) -> str:
        if self.blocks is None or self.block_size_tokens is None:
            return "blocks not told"
        return (
            f"{self.blocks:,} blocks of {self.block_size_tokens} tokens "
            f"({self.blocks * self.block_size_tokens:,} tokens)"
        )


def configuration(snapshot: Snapshot) -> CacheConfiguration | None:
    """The first engine's; None where the server tells nothing of it."""
    engines = [dict(labels) for labels in snapshot.samples.get(CACHE_CONFIG, {})]
    if not engines:
        return None
    labels = engines[0]
    return CacheConfiguration(
        len(engines),
        whole(labels.get("num_gpu_blocks")),
        whole(labels.get("block_size")),
        _share(labels.get("gpu_memory_utilization")),
        whole(labels.get("kv_cache_memory_bytes")),
        {YES: True, NO: False}.get(labels.get("enable_prefix_caching", "")),
    )


def whole(text: str | None) -> int | None:
    """A label's number; the server writes `None` for what it does not know."""
    return int(text) if text and text.isdigit() else None


def _share(text: str | None) -> float | None:
    return float(text) if text and text.replace(".", "", 1).isdigit() else None
