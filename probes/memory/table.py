"""How an engine's memory looks on a terminal: a row per process, then weights, KV cache, the rest and the GPUs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from probes.devices.device import MEMORY_NOT_TOLD, Device, DeviceReading, balance
from probes.devices.sampling import activity_text
from probes.memory.account import Memory
from probes.memory.footprint import Footprint, summed
from probes.memory.kvcache import KVCache
from probes.processes.enginegroup import VLLM_ROLES, Member

WIDTH = 118
WHY = (
    "Memory does not move during inference because vLLM allocates the whole KV cache at start: requests take blocks "
    "of it, not memory, and what moves is the KV cache in use (python -m probes.metrics). Weights stay as they were "
    "loaded, and the room for activations was found by a trial run at start and is kept for reuse."
)


def report(memory: Memory) -> Iterator[str]:
    """Lines for the terminal."""
    if memory.processes:
        yield from process_lines(memory.processes)
        yield ""
    if memory.processes and not any(member.role in VLLM_ROLES for member, _ in memory.processes):
        yield "No process here is titled as vLLM's: if there is an engine, it is inside the first one."
    yield from part_lines(memory)
    yield from device_lines(memory.devices)
    yield ""
    yield textwrap.fill(WHY, WIDTH)


def process_lines(processes: Sequence[tuple[Member, Footprint]]) -> Iterator[str]:
    """A row per process and their sum, in MiB."""
    names = ("RSS", "PSS", "USS", "heap", "files", "shared")
    yield f"{'role':<12}{'process':<18}{'PID':>8}" + "".join(f"{name:>10}" for name in names) + "   MiB"
    for member, size in processes:
        yield f"{member.role:<12}{member.name[:17]:<18}{member.pid:>8}" + "".join(map(cell, vars(size).values()))
    totals = [summed([vars(size)[name] for _, size in processes]) for name in vars(processes[0][1])]
    # A page that several processes map is in the RSS of each: their sum would count it again and again.
    yield f"{'together':<38}" + cell(None) + "".join(map(cell, totals[1:]))
    yield "heap, files and shared are the parts of PSS, in which each process counts its share of a shared page"


def cell(size: int | None) -> str:
    """A size in a column of MiB."""
    return f"{'-' if size is None else f'{size / 2**20:,.1f}':>10}"


def part_lines(memory: Memory) -> Iterator[str]:
    """Weights, KV cache, and what is neither."""
    yield f"weights   {weights_text(memory)}"
    yield from map(kv_line, memory.kv)
    if not memory.kv:
        yield "KV cache  not known: the engine has no server that would tell (in LLM, its log does)"
    yield from rest_line(memory)


def weights_text(memory: Memory) -> str:
    """The weights' size on disk and, where that differs, as loaded."""
    weights = memory.weights
    if weights is None:
        return "not known: " + ("no safetensors files" if memory.model else "no --model in the command line")
    as_loaded = f", {gib(weights.loaded)} as loaded (an estimate)" if weights.loaded != weights.disk else ""
    each = f", by each of {len(memory.kv)} engines" if len(memory.kv) > 1 else ""
    return f"{gib(weights.disk)} on disk, {weights.parameters / 1e6:,.1f} M parameters{as_loaded}{each}"


def kv_line(kv: KVCache) -> str:
    """Its blocks and tokens, and the bytes that are set or reckoned."""
    name = f"KV cache  {f'engine {kv.engine}: ' if kv.engine not in ('', '0') else ''}"
    if kv.tokens is None:
        return f"{name}the server does not tell its size"
    blocks = kv.blocks is not None and kv.block_size_tokens is not None
    text = f"{kv.blocks:,} blocks × {kv.block_size_tokens} = " if blocks else ""  # noqa: RUF001
    text += f"{kv.tokens:,} tokens"
    if kv.stated_bytes:
        text += f", {gib(kv.stated_bytes)} a device as set"
    if kv.estimated_bytes:
        text += f", {gib(kv.estimated_bytes)} by the model's heads and layers (an estimate)"
    return name + text + ("" if kv.used is None else f", {100 * kv.used:.1f} % in use")


def rest_line(memory: Memory) -> Iterator[str]:
    """What is left of the engine's memory without weights and KV cache, on the GPUs or else in main memory."""
    on_gpu = [each.engine_bytes for each in memory.devices.devices if each.engine_bytes is not None]
    if memory.devices.devices or memory.devices.problems:
        total = sum(on_gpu)  # of one that a driver does not tell, nothing is said
    else:
        total = summed([size.pss for _, size in memory.processes]) or 0
    cache = summed([kv.estimated_bytes for kv in memory.kv]) if memory.kv else None
    if total and cache and memory.weights:
        rest = total - cache - len(memory.kv) * memory.weights.loaded  # data parallel: each engine loads its own
        yield f"the rest  {gib(rest)} of {gib(total)}: libraries, the interpreters, activations, graphs (an estimate)"


def gib(size: int) -> str:
    """A size in GiB, small ones in MiB."""
    return f"{size / 2**30:,.2f} GiB" if abs(size) >= 2**30 else f"{size / 2**20:,.1f} MiB"


def device_lines(reading: DeviceReading) -> Iterator[str]:
    """A line per GPU, what a driver could not say, and how even the engine's GPUs are."""
    if not reading.devices and not reading.problems:
        yield "GPU       none that an NVIDIA or AMD driver knows: weights and KV cache are in main memory"
    yield from map(device_line, reading.devices)
    yield from (f"GPU       not known: {problem}" for problem in reading.problems)
    even = balance(reading.devices)
    if even is not None:
        yield f"balance   {100 * even:.0f} %: the least filled of the engine's devices over the fullest"


def device_line(device: Device) -> str:
    """Its memory, and the engine's share of it."""
    line = f"GPU {device.index}     {device.name}: "
    if device.used_bytes is None or device.total_bytes is None:
        line += MEMORY_NOT_TOLD
    else:
        line += f"{gib(device.used_bytes)} of {gib(device.total_bytes)} used"
    own = f", {gib(device.engine_bytes)} of it this engine's" if device.engine_bytes is not None else ""
    return f"{line}{own}; now {activity_text(device.activity)}"
