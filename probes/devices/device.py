"""One accelerator, which of them an engine may use, and how evenly it is spread over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

VISIBLE = {
    "nvidia": ("CUDA_VISIBLE_DEVICES",),
    "amd": ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
}


@dataclass(frozen=True)
class Device:
    """An accelerator; sizes in bytes, None where the driver does not tell (MIG, permissions, memory of the host).

    `holders` are the processes that hold memory on it. `engine_bytes` is the engine's own share.
    """

    vendor: Literal["nvidia", "amd"]
    index: int
    name: str
    used_bytes: int | None
    total_bytes: int | None
    engine_bytes: int | None = None
    driver: str = ""
    uuid: str = ""
    holders: Mapping[int, int | None] = field(default_factory=dict)


@dataclass(frozen=True)
class DeviceReading:
    """The devices of this machine, and what a driver said that could not be asked: then there may be more of them."""

    devices: list[Device]
    problems: list[str] = field(default_factory=list)


def visible(devices: Sequence[Device], environ: Mapping[str, str]) -> list[Device]:
    """The devices that an engine started with this environment may use.

    | CUDA_VISIBLE_DEVICES | devices                              |
    | -------------------- | ------------------------------------ |
    | not set              | all                                  |
    | `2,0`                | those two, in this order             |
    | `GPU-8932f937`       | the one whose UUID begins like that  |
    | empty, `-1`          | none                                 |
    """
    return [each for vendor in VISIBLE for each in _visible(vendor, devices, environ)]


def _visible(vendor: str, devices: Sequence[Device], environ: Mapping[str, str]) -> list[Device]:
    own = [each for each in devices if each.vendor == vendor]
    chosen = next((environ[name] for name in VISIBLE[vendor] if name in environ), None)
    if chosen is None:
        return own
    picked: list[Device] = []
    for word in map(str.strip, chosen.split(",")):
        if word.startswith("MIG-"):
            return own  # an instance's UUID does not say whose it is
        match = [each for each in own if str(each.index) == word or (len(word) > 3 and each.uuid.startswith(word))]
        if not match:
            break  # CUDA and HIP ignore what follows a word that names no device
        picked += match[:1]
    return picked


def balance(devices: Sequence[Device]) -> float | None:
    """The least filled of the engine's devices over the fullest: 1 is even. None where fewer than two are known."""
    sizes = [device.engine_bytes for device in devices if device.engine_bytes]
    return min(sizes) / max(sizes) if len(sizes) > 1 else None
