"""The cards of one machine with a start on each (`--parallel`), where their trials do not disturb each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from offline.engine.threads import worker_count
from offline.variants.variant import SERVER, Variant, engine_count
from probes.devices.device import VENDOR_OF, VISIBLE, Device, visible
from probes.errors import usage_error

CORES = 3  # that a start keeps busy: its front end, its core and the sender


@dataclass(frozen=True)
class Card:
    """A card by the word that names it to an engine, and the environment that shows an engine no other."""

    name: str
    environment: Mapping[str, str]


def parallel_cards(
    variants: Sequence[Variant], platform: str, devices: Sequence[Device], environ: Mapping[str, str], cores: int
) -> tuple[Card, ...]:
    """The cards for one start each; refused where a start needs more than one, or trials would disturb each other."""
    for variant in variants:
        if variant.kind == SERVER or variant.serve:
            raise usage_error(f"--parallel starts engines: {variant.name} is a server")
        if (workers := engine_count(variant.form) * worker_count(variant.settings)) > 1:
            raise usage_error(f"--parallel gives a start one card: {variant.name} takes {workers}")
    vendor = VENDOR_OF.get(platform)
    usable = [device for device in visible(devices, environ) if device.vendor == vendor]
    if len(usable) < 2:
        raise usage_error(f"--parallel needs two cards or more, the engine has {len(usable)}: trials would share it")
    choose = VISIBLE[usable[0].vendor][-1][0]
    if len({(device.name, device.total_bytes) for device in usable}) > 1:
        names = ", ".join(device.name for device in usable)
        raise usage_error(f"--parallel needs cards of one kind, not {names}: choose some with {choose}")
    if cores < CORES * len(usable):
        raise usage_error(
            f"--parallel on {len(usable)} cards needs {CORES * len(usable)} cores, there are {cores}: trials would "
            f"disturb each other; choose fewer cards with {choose}"
        )
    return tuple(map(_card, usable))


def _card(device: Device) -> Card:
    """A device as an engine is to see it: the first variable picks it, those after it the only one that is left."""
    name = device.uuid or str(device.index)
    (first, *_), *others = VISIBLE[device.vendor]
    return Card(name, {first: name} | {variable: "0" for names in others for variable in names})


def starts_at_once(starts: int, cards: int) -> float:
    """How many of some starts run at the same time, on average: 1.5 of three on two cards, one of which then waits."""
    return starts / math.ceil(starts / max(1, cards))
