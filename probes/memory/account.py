"""All that is known of an engine's memory, before it is shown."""

from __future__ import annotations

from dataclasses import dataclass

from probes.devices import Device
from probes.enginegroup import Member
from probes.memory.footprint import Footprint, Weights
from probes.memory.kvcache import KVCache


@dataclass(frozen=True)
class Memory:
    """All that is known. What is not, is None or empty."""

    processes: list[tuple[Member, Footprint]]
    model: str | None
    weights: Weights | None
    kv: list[KVCache]
    devices: list[Device]
