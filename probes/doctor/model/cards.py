"""The cards of this machine: their numbers, who holds them, and which of them a new engine may have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from probes.devices.device import VISIBLE, Device, visible
from probes.doctor.surroundings import Process

GIB = 2**30
FREE_BYTES = GIB  # what a driver, a desktop or a monitor takes of a card that nobody computes on
IDLE_PERCENT = 10.0
VARIABLE = {"nvidia": "CUDA_VISIBLE_DEVICES", "amd": "HIP_VISIBLE_DEVICES"}


@dataclass(frozen=True)
class SeenCard:
    """A device, the number under which an engine of this environment finds it (None: hidden), and its holders by name.

    `number` is what names it in `VARIABLE`: of AMD's, its place among those that ROCR_VISIBLE_DEVICES leaves of HIP's.
    """

    device: Device
    visible_number: int | None
    number: int
    holders: tuple[str, ...]

    @property
    def free_bytes(self) -> int | None:
        """What is not used of its memory; None where its driver does not tell."""
        used, total = self.device.used_bytes, self.device.total_bytes
        return None if used is None or total is None else total - used

    @property
    def state(self) -> str:
        """`free`, or why a new engine may not have it."""
        busy = self.device.activity.utilization_percent
        if self.visible_number is None:
            return "hidden"
        if self.device.used_bytes is None:
            return "memory not reported"
        if self.device.used_bytes >= FREE_BYTES:
            return "taken"
        return "busy" if busy is not None and busy >= IDLE_PERCENT else "free"


def cards(devices: Sequence[Device], environ: Mapping[str, str], processes: Sequence[Process]) -> list[SeenCard]:
    """Every card, as this environment sees it."""
    titles = {process.pid: process.title for process in processes}
    numbers = {place: number for vendor in VARIABLE for number, place in enumerate(_seen(vendor, devices, environ))}
    # AMD's first variable hides cards from the driver's own list: what the second one says counts among the rest.
    of_rocr = {name: environ[name] for name in VISIBLE["amd"][0] if name in environ}
    names = {place: number for number, place in enumerate(_seen("amd", devices, of_rocr))}
    return [
        SeenCard(
            device,
            numbers.get((device.vendor, device.index)),
            names.get((device.vendor, device.index), device.index),
            # AMD's driver names each process that has opened the driver on each card, also where it holds nothing.
            tuple(_holder(pid, size, titles) for pid, size in device.holders.items() if size != 0),
        )
        for device in devices
    ]


def _seen(vendor: str, devices: Sequence[Device], environ: Mapping[str, str]) -> list[tuple[str, int]]:
    return [(each.vendor, each.index) for each in visible(devices, environ) if each.vendor == vendor]


def _holder(pid: int, size_bytes: int | None, titles: Mapping[int, str]) -> str:
    """Who holds memory: the program's name alone (its arguments may hold keys), by a number that may be the host's."""
    words = titles.get(pid, "").split()
    size = "" if size_bytes is None else f", {size_bytes / GIB:.1f} GiB"
    if not words:
        return f"process {pid}{size} (not seen here: another container's or user's)"
    return f"{Path(words[0]).name} (process {pid}{size})"


def chosen(of: Sequence[SeenCard], count: int) -> list[SeenCard]:
    """The free cards of one kind that an engine over `count` cards should have: the emptiest; [] where too few are."""
    free = [card for card in of if card.state == "free"]
    kinds = {(card.device.vendor, card.device.name, card.device.total_bytes) for card in free}
    like = ([c for c in free if (c.device.vendor, c.device.name, c.device.total_bytes) == kind] for kind in kinds)
    enough = [sorted(kind, key=lambda card: -(card.free_bytes or 0))[:count] for kind in like if len(kind) >= count]
    best = max(enough, key=lambda kind: kind[0].device.total_bytes or 0, default=[])
    return sorted(best, key=lambda card: card.number)


def choice_line(of: Sequence[SeenCard], picked: Sequence[SeenCard], environ: Mapping[str, str]) -> str:
    """The variables that give an engine these cards: `CUDA_VISIBLE_DEVICES=6,7`.

    CUDA numbers unlike cards by their speed unless it is told otherwise; the driver's programs always by their place.
    On ROCm vLLM refuses two variables that differ (`platforms/rocm.py`), so that CUDA's is taken out where it is set.
    """
    vendor = picked[0].device.vendor
    names = {card.device.name for card in of if card.device.vendor == vendor}
    before = "CUDA_DEVICE_ORDER=PCI_BUS_ID " if vendor == "nvidia" and len(names) > 1 else ""
    if vendor == "amd" and environ.get(VARIABLE["nvidia"]):
        before = f"env -u {VARIABLE['nvidia']} "
    return f"{before}{VARIABLE[vendor]}={','.join(str(card.number) for card in picked)}"
