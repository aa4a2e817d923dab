"""What holds for an engine start: resolved settings, memory, and the split of its start-up, computed on reading."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from offline.records.lines import StartRecord
from offline.records.resolved import Resolved
from offline.records.workers import unbalanced, worker_memory
from offline.spec.grid import Arm
from probes.columns import column
from tracing.events.enginephase import EnginePhase


@dataclass(frozen=True)
class StartColumns:
    """One engine start; None where the platform or vLLM does not tell."""

    attention_backend: str | None = field(metadata=column("the attention backends of its layers"))
    overridden: str = field(metadata=column("arguments that the engine changed without a word"))
    weights_bytes: int | None = field(metadata=column("size of the weights, all workers", "bytes"))
    kv_cache_bytes: int | None = field(metadata=column("size of the KV cache, all workers", "bytes"))
    rest_bytes: int | None = field(
        metadata=column("resident memory beside both, on CPU", "bytes", "rss_bytes - weights_bytes - kv_cache_bytes")
    )
    rss_bytes: int = field(metadata=column("resident memory of all its processes", "bytes"))
    rss_by_process: str = field(metadata=column("the same by process"))
    unbalanced: str = field(metadata=column("parts of memory in which its workers differ by more than a tenth"))
    started_together: int = field(metadata=column("engines that were being started at the same time"))
    startup_s: float = field(metadata=column("the whole start", "s", "ready_ns - import_start_ns"))
    startup_import_s: float = field(metadata=column("importing vLLM", "s", "engine_start_ns - import_start_ns"))
    startup_spawn_s: float | None = field(
        metadata=column("starting processes: to the core's first line, and on to the worker's loading", "s")
    )
    startup_load_weights_s: float | None = field(metadata=column("loading the weights", "s"))
    startup_profile_kv_s: float | None = field(metadata=column("measuring memory and making the KV cache", "s"))
    startup_warm_up_s: float | None = field(metadata=column("warming up and compiling", "s"))
    startup_rest_s: float = field(metadata=column("all the rest", "s", "startup_s - its known parts"))
    startup_note: str = field(metadata=column("why a part of the start is empty"))


@dataclass(frozen=True)
class StartupSplit:
    """What a start-up was spent on, in seconds; None where a part is not known."""

    import_s: float
    spawn_s: float | None
    load_weights_s: float | None
    profile_kv_s: float | None
    warm_up_s: float | None

    @property
    def known_s(self) -> float:
        """All of its known parts."""
        parts = (self.import_s, self.spawn_s, self.load_weights_s, self.profile_kv_s, self.warm_up_s)
        return sum(part for part in parts if part is not None)


def start_columns(arm: Arm, start: StartRecord) -> StartColumns:
    """The columns of one engine start."""
    weights, kv = _sum(start, "weights_bytes"), _sum(start, "kv_cache_bytes")
    rss = sum(process.rss_bytes for process in start.memory)
    # Resident memory holds weights and KV cache only where they live in the host's memory.
    in_host = start.resolved.device == "cpu" and weights is not None and kv is not None
    backends = next((phase.attention_backend for phase in start.phases if phase.attention_backend), None)
    changes = overridden(arm, start.resolved).items()
    phases = _whole(start.phases)
    split = startup(start, phases)
    return StartColumns(
        attention_backend=", ".join(backends) if backends else None,
        overridden="; ".join(f"{name}: asked {arm.settings[name]}, got {value}" for name, value in changes),
        weights_bytes=weights,
        kv_cache_bytes=kv,
        rest_bytes=rss - (weights or 0) - (kv or 0) if in_host else None,
        rss_bytes=rss,
        rss_by_process=", ".join(f"{each.title} {each.rss_bytes / 2**20:.0f} MiB" for each in start.memory),
        unbalanced="; ".join(unbalanced(worker_memory(start.phases, start.memory))),
        started_together=start.started_together,
        startup_s=start.startup_s,
        startup_import_s=split.import_s,
        startup_spawn_s=split.spawn_s,
        startup_load_weights_s=split.load_weights_s,
        startup_profile_kv_s=split.profile_kv_s,
        startup_warm_up_s=split.warm_up_s,
        startup_rest_s=start.startup_s - split.known_s,
        startup_note=_note(start, phases),
    )


def overridden(arm: Arm, resolved: Resolved) -> dict[str, object]:
    """The arguments that the engine changed silently: name and what it made of them."""
    effective = asdict(resolved) | {"block_size": resolved.effective_block_size or resolved.block_size}
    changed = {}
    for name, asked in arm.settings.items():
        got = effective.get(name)
        if name != "model" and got is not None and asked not in ("auto", None) and str(asked) != str(got):
            changed[name] = got
    return changed


def _sum(start: StartRecord, name: str) -> int | None:
    sizes = [size for phase in start.phases if (size := getattr(phase, name)) is not None]
    return sum(sizes) if sizes else None


def startup(start: StartRecord, phases: dict[str, EnginePhase]) -> StartupSplit:
    """The parts of a start-up."""
    return StartupSplit(
        import_s=(start.engine_start_ns - start.import_start_ns) / 1e9,
        spawn_s=_spawn_s(start, phases),
        load_weights_s=_seconds(phases, "load_weights"),
        profile_kv_s=_seconds(phases, "profile", "kv_allocation"),
        warm_up_s=_seconds(phases, "warm_up") if _warms_up(start.resolved) else None,
    )


def _whole(phases: tuple[EnginePhase, ...]) -> dict[str, EnginePhase]:
    """Each phase once, from its first start; workers pass some of them side by side."""
    spans: dict[str, EnginePhase] = {}
    for phase in phases:
        first = spans.setdefault(phase.phase, phase)
        end_ns = max(first.end_ns, phase.end_ns)
        spans[phase.phase] = EnginePhase(phase.phase, first.pid, first.start_ns, end_ns)
    return spans


def _seconds(phases: dict[str, EnginePhase], *names: str) -> float | None:
    return sum(phases[name].seconds for name in names) if set(names) <= phases.keys() else None


def _spawn_s(start: StartRecord, phases: dict[str, EnginePhase]) -> float | None:
    if not {"executor", "load_weights"} <= phases.keys():
        return None
    core_ns = start.plugin_ns.get(str(phases["executor"].pid))
    if core_ns is None:
        return None
    worker_ns = phases["load_weights"].start_ns - phases["executor"].start_ns
    return (core_ns - start.engine_start_ns + worker_ns) / 1e9


def _note(start: StartRecord, phases: dict[str, EnginePhase]) -> str:
    if not phases:
        return "no phase of the start was recorded"
    notes = []
    # The core's first line is where it loads our plugin; a forked core inherits it and leaves no stamp.
    if _spawn_s(start, phases) is None:
        notes.append("spawn: the core was forked")
    if not _warms_up(start.resolved):
        notes.append("warm_up: an eager CPU worker with a given KV size has none")
    return "; ".join(notes)


def _warms_up(resolved: Resolved) -> bool:
    eager = str(resolved.compilation_mode) in ("NONE", "0")
    return not (resolved.device == "cpu" and eager and resolved.kv_cache_memory_bytes)
