"""The arithmetic of a KV cache in words, each factor shown."""

from __future__ import annotations

from collections.abc import Sequence

from probes.doctor.model.fit import Fitting
from probes.memory.cachedtype import CacheDtype
from probes.memory.kvblocks import token_bytes
from probes.memory.modelconfig import KVLayers
from probes.memory.table import gib

WORDS = {"full": "full layers", "sliding": "layers with a window", "mla": "MLA layers"}


def cache_text(layers: Sequence[KVLayers], dtype: CacheDtype, fit: Fitting) -> str:
    """`(28 full layers x 4 KV heads x 256 values) x 2 bytes (bfloat16) = 56.0 KiB a token; a request of 32,768 …`.

    The figures are those of one card where a model is spread over several.
    """
    size = f"{dtype.value_bytes:g} byte{'' if dtype.value_bytes == 1 else 's'}"
    if scales := 2 * dtype.scale_bytes:
        terms = " + ".join(_term(each, f"({each.values} values x {size} + {scales} of scales)") for each in layers)
    else:
        terms = f"({' + '.join(_term(each, f'{each.values} values') for each in layers)}) x {size}"
    one = f"{terms} ({dtype.name}) = {token_bytes(layers, dtype, 1) / 2**10:,.1f} KiB a token"
    blocks = fit.blocks
    count = blocks.request_blocks(fit.length_tokens)
    where = "" if fit.cards == 1 else f", on each of {fit.cards} cards"
    block = f"{blocks.block_size_tokens} tokens, {blocks.block_bytes / 2**10:,.1f} KiB"
    request = f"a request of {fit.length_tokens:,} tokens: {count:,} blocks ({block}) = {gib(fit.request_bytes)}{where}"
    return f"{one}; {request}{_windows(layers, fit)}"


def _term(layers: KVLayers, values: str) -> str:
    heads = "" if layers.kind == "mla" else f" x {layers.heads} KV heads"
    return f"{layers.count} {WORDS[layers.kind]}{heads} x {values}"


def _windows(layers: Sequence[KVLayers], fit: Fitting) -> str:
    """What layers with a window keep, which is not the whole request."""
    windows = {each.window_tokens for each in layers if each.window_tokens}
    if not windows:
        return ""
    flight = f"and what is scheduled at once, {fit.blocks.in_flight_tokens:,} tokens in a server"
    kept = ", ".join(f"{window:,}" for window in sorted(windows))
    return f"; layers with a window keep its {kept} tokens {flight}, in {len(fit.blocks.groups)} groups of layers"
