"""One accelerator, which of them an engine may use, and how evenly it is spread over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

# One variable after the other: each picks among what the one before it left, by place. Of two names the first counts.
VISIBLE = {
    "nvidia": (("CUDA_VISIBLE_DEVICES",),),
    "amd": (("ROCR_VISIBLE_DEVICES",), ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")),
}
MEMORY_NOT_TOLD = "memory not reported (MIG, permissions, or it shares the host's)"
VENDOR_OF = {"cuda": "nvidia", "rocm": "amd"}  # by vLLM's platform


@dataclass(frozen=True)
class Activity:
    """What a device does at a moment, by its driver; None where that does not tell.

    Utilization is the share of the driver's last sample period (up to a second) in which a kernel ran, in percent; the
    clock is that of the compute units.
    """

    utilization_percent: float | None = None
    power_w: float | None = None
    clock_mhz: float | None = None


@dataclass(frozen=True)
class Device:
    """An accelerator; sizes in bytes, None where the driver does not tell (MIG, permissions, memory of the host).

    `index` is the driver's number, `ordinal` that of HIP, which may be another; None where it is the same or not told.
    `uuid` is the word by which the variables of `VISIBLE` name it. `holders` are the processes that hold memory on it,
    `engine_bytes` is the engine's own share.
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
    activity: Activity = field(default_factory=Activity)
    ordinal: int | None = None

    @property
    def number(self) -> int:
        """The number by which an environment without variables names it."""
        return self.index if self.ordinal is None else self.ordinal


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

    ROCR_VISIBLE_DEVICES comes first on AMD: `3,2` and then HIP_VISIBLE_DEVICES=0 leave the fourth device.
    """
    return [each for vendor in VISIBLE for each in _visible(vendor, devices, environ)]


def _visible(vendor: str, devices: Sequence[Device], environ: Mapping[str, str]) -> list[Device]:
    own = sorted((each for each in devices if each.vendor == vendor), key=lambda each: each.number)
    left = {str(each.number): each for each in own}
    for names in VISIBLE[vendor]:
        words = next((environ[name] for name in names if name in environ), None)
        if words is not None:
            left = {str(place): each for place, each in enumerate(_picked(left, words))}
    return list(left.values())


def _picked(devices: dict[str, Device], words: str) -> list[Device]:
    """The devices, by number, that the words of one variable name by their number or their UUID."""
    own = list(devices.values())
    picked: list[Device] = []
    for word in map(str.strip, words.split(",")):
        by_uuid = [each for each in own if len(word) > 3 and each.uuid.lower().startswith(word.lower())]
        match = [devices[word]] if word in devices else by_uuid
        if not match and _may_be_one_of(own, word):
            return own
        if not match:
            break  # CUDA and HIP ignore what follows a word that names no device
        picked += match[:1]
    return picked


def _may_be_one_of(devices: list[Device], word: str) -> bool:
    """Whether a UUID names a device that the driver calls otherwise: a MIG instance, a partition, an unknown UUID."""
    certain = all(each.vendor == "nvidia" and each.uuid for each in devices)
    return word.startswith("MIG-") or (word.startswith("GPU-") and not certain)


def balance(devices: Sequence[Device]) -> float | None:
    """The least filled of the engine's devices over the fullest: 1 is even. None where fewer than two are known."""
    sizes = [device.engine_bytes for device in devices if device.engine_bytes]
    return min(sizes) / max(sizes) if len(sizes) > 1 else None
