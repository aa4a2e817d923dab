"""What the doctor says of one model: the hub, its files, whether it fits, the cards, and how it attends."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from probes.devices.device import MEMORY_NOT_TOLD, Device
from probes.doctor.model.attention import ask_selection, flash_lines
from probes.doctor.model.cards import SeenCard, cards, choice_line, chosen
from probes.doctor.model.fit import GIB, Fitting, Room, cpu_room, fits, gpu_room
from probes.doctor.model.kvtext import cache_text
from probes.doctor.model.selection import Selection
from probes.doctor.model.subject import Subject, getting, subject
from probes.doctor.resources import main_memory, memory
from probes.doctor.surroundings import Finding, Surroundings, free_bytes
from probes.hub.settings import HubSettings, hub_settings
from probes.memory.cachedtype import cache_dtype
from probes.memory.table import gib
from probes.privacy.secretvalues import blanked

MOST_NAMED = 3  # files in one line


@dataclass(frozen=True)
class Wish:
    """What is to be served: on so many cards (None: as few as will do), requests up to so many tokens (None: the
    model's own limit), with this share of each card, and the KV cache in this dtype (None: as vLLM would)."""

    model: str
    gpus: int | None
    length_tokens: int | None
    share: float
    cache_dtype: str | None = None


def examine_model(wish: Wish, at: Surroundings, devices: Sequence[Device]) -> list[Finding]:
    """Everything that is asked before a model is started; only where something is missing here is the hub asked."""
    settings = hub_settings(at.environ)
    of = subject(wish.model, settings)
    there = cards(devices, at.environ, at.processes)
    fitting = list(_fits(of, wish, _room(wish, there, at)))
    return [
        hub(settings),
        *hub_client(settings, at),
        files(of, settings),
        weights(of),
        kv_cache(of, wish, fitting),
        *map(on_cards, fitting),
        *(card(each) for each in there),
        *[Finding("GPU", "warn", problem) for problem in at.gpu_problems],
        start(of, wish, there, fitting, at.environ) if there or wish.gpus or not at.cpu_build else memory(at),
        *attention(of, at, wish.cache_dtype),
    ]


def hub(settings: HubSettings) -> Finding:
    """Where models come from and go to, with the variables that say so; of a token only that it is there."""
    address = f"ModelScope ({settings.modelscope})" if settings.uses_modelscope else settings.endpoint
    offline = ", offline" if settings.offline else ""
    token = "a token" if settings.has_token else "no token"
    variables = "".join(f"; {name}={value}" for name, value in settings.variables.items())
    return Finding("hub", "ok", blanked(f"{address}{offline}, {token}, cache {settings.model_cache}{variables}"))


def hub_client(settings: HubSettings, at: Surroundings) -> Iterator[Finding]:
    """That ModelScope's own client is not there, which vLLM imports where it takes that hub."""
    if settings.uses_modelscope and not at.version("modelscope"):
        detail = "modelscope is not installed: with VLLM_USE_MODELSCOPE vLLM ends on its import"
        yield Finding("hub client", "block", detail, "pip install 'modelscope>=1.18.1'")


def files(of: Subject, settings: HubSettings) -> Finding:
    """Whether the model is here whole, and the lines that get it where it is not."""
    lines = "\n".join(getting(of, settings)) or None
    if of.is_complete:
        limits = "" if all(each.state == "whole" for each in of.files) else ", as far as files without a header tell"
        return Finding("model files", "ok", f"{of.folder}: {_count(len(of.files))}, all whole{limits}")
    if of.hub.state == "unknown":
        return Finding("model files", "block", f"not here, and {of.hub.why}: check the name")
    where = of.folder or "not here"
    bad = [_bad(each.name, each.here_bytes, each.whole_bytes) for each in of.bad_files()]
    more = f" and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
    count = f"{len(of.files) - len(bad)} of {_count(len(of.files))} whole" if of.files else "no weight files"
    named = f": {'; '.join(bad[:MOST_NAMED])}{more}" if of.folder and bad else ""
    asked = f" (hub {of.hub.state}: {of.hub.why})" if of.hub.why else ""
    return Finding("model files", "block", f"{where}; {count}{named}{asked}{_to_fetch(of, settings)}", lines)


def _to_fetch(of: Subject, settings: HubSettings) -> str:
    """What is left to be got, against the room where it will lie."""
    sizes = [each.whole_bytes for each in of.bad_files() if each.whole_bytes is not None]
    if not sizes:
        return ""
    free = free_bytes(settings.model_cache)
    variable = "MODELSCOPE_CACHE" if settings.uses_modelscope else "HF_HUB_CACHE"
    short = f": too little room, set {variable} to a larger disk" if free < sum(sizes) else ""
    return f"; {gib(sum(sizes))} to fetch, {gib(free)} free there{short}"


def _count(files: int) -> str:
    return f"{files} weight file{'' if files == 1 else 's'}"


def _bad(name: str, here_bytes: int | None, whole_bytes: int | None) -> str:
    if here_bytes is None:
        return f"{name} is missing"
    return f"{name} is cut off at {here_bytes:,} of {whole_bytes or 0:,} bytes"


def weights(of: Subject) -> Finding:
    """The bytes of the weights as they are loaded."""
    if of.loaded_bytes is None:
        return Finding("weights", "warn", "not known: neither its files nor its hub say their size")
    by = f"{of.parameters / 1e6:,.1f} M parameters" if of.parameters else "as its files, index or hub state"
    if quantization := of.config.quantization:  # several weights in a number, and scales beside them
        by = f"quantized ({quantization})"
    narrowed = ", loaded in 2 bytes of their 4" if of.config.is_narrowed else ""
    detail = f"{gib(of.loaded_bytes)}: {_count(len(of.files))}, {by}, {of.config.dtype or 'dtype not said'}{narrowed}"
    return Finding("weights", "ok", detail)


def kv_cache(of: Subject, wish: Wish, fitting: Sequence[Fitting]) -> Finding:
    """The bytes of one token and of one request of full length, with their factors."""
    if not of.config.kv_layers:
        return Finding("KV cache", "warn", f"not known: {of.config.kv_unknown}")
    dtype = cache_dtype(of.config, wish.cache_dtype)
    if isinstance(dtype, str):
        return Finding("KV cache", "warn", f"not known: {dtype}")
    if not fitting:
        no_length = "its config.json names no longest request: give --max-len"
        return Finding("KV cache", "warn", "unknown without the weights" if of.loaded_bytes is None else no_length)
    return Finding("KV cache", "ok", cache_text(of.config.kv_layers, dtype, fitting[0]))


def _fits(of: Subject, wish: Wish, room: Room) -> Iterator[Fitting]:
    length, dtype = wish.length_tokens or of.config.max_len_tokens, cache_dtype(of.config, wish.cache_dtype)
    if of.loaded_bytes is not None and of.config.kv_layers and length and not isinstance(dtype, str):
        cards = wish.gpus or (1 if room.is_main_memory else None)
        yield from fits(of.config, dtype, of.loaded_bytes, length, room, cards)


def _room(wish: Wish, there: Sequence[SeenCard], at: Surroundings) -> Room:
    """Of the cards that a start would get, or the largest there is; main memory for a CPU build without any."""
    if not there and at.cpu_build and not wish.gpus:
        space = at.environ.get("VLLM_CPU_KVCACHE_SPACE", "").strip()
        return cpu_room(main_memory(at)[0], wish.share, int(space) * GIB if space.isdigit() and int(space) else None)
    picked = chosen(there, wish.gpus or 1)
    among = picked or [card for card in there if card.visible_number is not None]
    return gpu_room(max((card.device.total_bytes or 0 for card in among), default=0) or None, wish.share)


def on_cards(fit: Fitting) -> Finding:
    """One number of cards: what each holds, and how many requests then run at once."""
    name = f"on {fit.cards} {'card' if fit.cards == 1 else 'cards'}" if not fit.in_main_memory else "in main memory"
    parts = f"{gib(fit.weights_bytes)} weights + {gib(fit.other_bytes)} activations and graphs (an estimate)"
    if fit.kv_bytes is None:
        need = f"({parts} + {gib(fit.request_bytes)} KV) / {fit.share:g}"
        return Finding(name, "note", f"needs a card of {gib(fit.least_card_bytes)} or more: {need}")
    left = f"{gib(fit.card_bytes or 0)} x {fit.share:g} - ({parts}) = {gib(fit.kv_bytes)} for KV"
    left = left if fit.set_bytes is None else f"{gib(fit.kv_bytes)} for KV, as set"
    if not fit.fits:
        return Finding(name, "note", f"does not fit: {left}; one request takes {gib(fit.request_bytes)}")
    blocks = f"{fit.blocks.blocks(fit.kv_bytes):,} blocks = {fit.kv_tokens or 0:,} tokens"
    length = f"{fit.length_tokens:,} tokens"
    full = f"{fit.concurrency or 0:.2f} requests of full length ({length}) at once, more of shorter ones"
    return Finding(name, "ok", f"fits: {left} = {blocks}; {full}")


def card(of: SeenCard) -> Finding:
    """One card: its numbers, memory, load and holders."""
    device, number = of.device, "" if of.visible_number is None else f"number {of.visible_number} here, "
    room = MEMORY_NOT_TOLD
    if of.free_bytes is not None and device.total_bytes is not None:
        room = f"{gib(of.free_bytes)} of {gib(device.total_bytes)} free"
    busy = device.activity.utilization_percent
    load = "utilization unknown" if busy is None else f"{busy:.0f} % busy"
    held = f"; held by {', '.join(of.holders)}" if of.holders else ""
    detail = f"{of.state}: {device.name}, {number}{room}, {load}"
    return Finding(f"GPU {device.index}", "ok" if of.state == "free" else "note", detail + held)


def start(
    of: Subject, wish: Wish, there: Sequence[SeenCard], fitting: Sequence[Fitting], environ: Mapping[str, str]
) -> Finding:
    """Which cards to take, as a line to paste; `block` where the model fits nowhere, or the cards are not free."""
    heads = of.config.heads
    if heads and wish.gpus and heads % wish.gpus:
        return Finding("start", "block", f"{heads} attention heads cannot be spread evenly over {wish.gpus} cards")
    enough = [fit for fit in fitting if fit.fits]
    if fitting and not enough and fitting[0].fits is False:
        detail = "it does not fit: a smaller --max-len, larger or more cards, or a quantized model"
        return Finding("start", "block", detail)
    if not there:
        return Finding("start", "note", "no GPU here whose driver answers: the sizes are those to look for")
    count = wish.gpus or (enough[0].cards if enough else 1)
    picked, free = chosen(there, count), sum(each.state == "free" for each in there)
    if not picked:
        return Finding("start", "block", f"{count} free cards of one kind are needed, {free} are free")
    line = f"{choice_line(there, picked, environ)} {_command(of, wish, count)}"
    return Finding("start", "note", f"{free} of {len(there)} cards are free", line)


def _command(of: Subject, wish: Wish, cards: int) -> str:
    words = [f"vllm serve {shlex.quote(of.name)}", f"--gpu-memory-utilization {wish.share:g}"]
    words += [f"--max-model-len {wish.length_tokens}"] if wish.length_tokens else []
    words += [f"--tensor-parallel-size {cards}"] if cards > 1 else []
    words += [f"--kv-cache-dtype {shlex.quote(wish.cache_dtype)}"] if wish.cache_dtype else []
    return " ".join(words)


def attention(of: Subject, at: Surroundings, cache_dtype: str | None = None) -> Iterator[Finding]:
    """What vLLM's own selection takes for the model here, and why not the others."""
    if not at.package("vllm"):
        yield Finding("attention", "warn", "not asked: vLLM is not installed")
        return
    answer = ask_selection(of.config, cache_dtype)
    if isinstance(answer, str):
        yield Finding("attention", "warn", answer)
    else:
        yield from _backends(answer)
    for line in flash_lines(at):
        yield Finding("FlashAttention", "ok", line)


def _backends(answer: Selection) -> Iterator[Finding]:
    others = [name for name, why in answer.refusals.items() if not why and name != answer.picked]
    by_name = [name for name in others if answer.candidates and name not in answer.candidates]
    by_itself = [name for name in others if name not in by_name]
    if answer.picked:
        also = f"; also possible: {', '.join(by_itself)}" if by_itself else ""
        yield Finding("attention", "ok", f"{answer.picked} on {answer.platform}, by vLLM's own selection{also}")
    if answer.doubt:
        outcome = "a vLLM that does not refuse to start (0.32 on CPU) may compute anything"
        detail = f"{answer.doubt}; {outcome}" if answer.picked else f"none, and vLLM does not start: {answer.doubt}"
        yield Finding("attention", "block", detail)
    if by_name:
        unproved = "its selection does not check whether they run here"
        yield Finding("attention", "ok", f"only when asked for by name: {', '.join(by_name)}; {unproved}")
    by_reason: dict[str, list[str]] = {}
    for name, why in answer.refusals.items():
        if why:
            by_reason.setdefault(why, []).append(name)
    for why, names in by_reason.items():
        yield Finding("attention", "ok", f"not {', '.join(names)}: {why}")
