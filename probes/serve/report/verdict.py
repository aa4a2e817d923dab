"""What a server's memory and a short load come to: the room in its KV cache, each card's share, whether the cards are
even, and how busy they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from probes.devices.device import Device, balance
from probes.devices.sampling import SampledDevice, sampled_text
from probes.memory.account import Memory
from probes.metrics.findings import LOW_PERCENT
from probes.metrics.table import percent
from probes.serve.command import GPU_UTIL, ServeOptions
from probes.serve.shortload import ShortLoad

UNEVEN = 0.9  # the least filled card over the fullest, below which one of them limits the KV cache of all
OVER = 0.05  # of a card's memory: more than is allowed by graphs and NCCL's buffers, which vLLM does not count in


def verdict(memory: Memory, options: ServeOptions) -> Iterator[str]:
    """A sentence each: KV cache, cards, balance."""
    for kv in memory.kv:
        if kv.tokens:
            requests = kv.tokens / options.max_len
            few = "" if requests >= 1 else ": one of that length does not fit"
            whose = f" of engine {kv.engine}" if len(memory.kv) > 1 else ""
            yield f"KV cache{whose}: room for {requests:,.1f} requests of {options.max_len:,} tokens at once{few}"
    allowed = GPU_UTIL if options.gpu_util is None else options.gpu_util
    own = [each for each in memory.devices.devices if each.engine_bytes]
    for device in own:
        yield _card(device, allowed)
    even = balance(own)
    if even is not None:
        yield _balance(own, even)


def _card(device: Device, allowed: float) -> str:
    held = device.engine_bytes or 0
    if not device.total_bytes:
        return f"GPU {device.index}: the engine holds {held / 2**30:.1f} GiB; its driver does not tell of how many"
    share = held / device.total_bytes
    used = f"GPU {device.index}: the engine holds {held / 2**30:.1f} of {device.total_bytes / 2**30:.1f} GiB"
    line = f"{used}, {percent(share)}, and may take {percent(allowed)} (--gpu-util)"
    if share > allowed + OVER:
        return f"{line}: graphs or NCCL's buffers are more than usual; a lower --gpu-util leaves them room"
    return f"{line}: a larger --gpu-util would be more KV cache" if allowed < GPU_UTIL else line


def _balance(own: list[Device], even: float) -> str:
    if even >= UNEVEN:
        return f"{len(own)} cards are even: the least filled holds {percent(even)} of what the fullest does"
    sizes = {each.index: each.engine_bytes or 0 for each in own}
    least, most = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
    return (
        f"cards are uneven: GPU {least} holds {percent(even)} of what GPU {most} does; the one with least room sets "
        "the KV cache of all (python -m probes.memory names who else holds memory there)"
    )


def load_lines(load: ShortLoad, devices: Sequence[Device]) -> Iterator[str]:
    """How fast it answered, and each card: the engine's, or all where the driver tells of none that it is."""
    rate = f"{load.tokens:,} tokens in {load.seconds:.1f} s, {load.tok_s:,.0f} tok/s"
    yield f"under load: {load.clients} requests at once, {rate}"
    own = {each.index for each in devices if each.engine_bytes} or {each.index for each in devices}
    yield from (_load_line(card) for card in load.cards if card.index in own)


def _load_line(card: SampledDevice) -> str:
    line, busy = sampled_text(card), card.activity.utilization_percent
    if busy is None or busy >= LOW_PERCENT:
        return line
    return f"{line}: at this load it waits for the host; tracing.record and tracing.review tell for what"
