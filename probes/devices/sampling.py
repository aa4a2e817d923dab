"""What devices do over a window of time: their activity, sampled beside whatever is measured."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from statistics import fmean

from probes.devices.device import Activity, Device
from probes.devices.reading import read_devices

EVERY_S = 1.0


@dataclass(frozen=True)
class SampledDevice:
    """A device, and the means of its activity and of the share of its memory in use over so many samples; None where
    its driver gave no figure in any.
    """

    index: int
    name: str
    samples: int
    activity: Activity
    memory_share: float | None = None


class DeviceSampler:
    """Samples all devices once a second, in a thread of its own, inside a `with` block."""

    def __init__(self) -> None:
        self._samples: list[tuple[int, list[Device]]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> DeviceSampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def take(self, start_ns: int = 0) -> list[SampledDevice]:
        """The means since the last call, or since a later moment of CLOCK_MONOTONIC."""
        samples, self._samples = self._samples, []
        return means([device for taken_ns, sample in samples if taken_ns >= start_ns for device in sample])

    def _sample(self) -> None:
        while not self._done.wait(EVERY_S):
            self._samples.append((time.monotonic_ns(), read_devices().devices))


def means(devices: Sequence[Device]) -> list[SampledDevice]:
    """The mean activity of each device that was read several times.

    | reading of GPU 0       | mean                  |
    | ---------------------- | --------------------- |
    | 90 %, 300 W, no clock  |                       |
    | 70 %, 200 W, no clock  | 80 %, 250 W, no clock |
    """
    readings: dict[tuple[str, int], list[Device]] = {}
    for device in devices:
        readings.setdefault((device.vendor, device.index), []).append(device)
    return [
        SampledDevice(own[0].index, own[0].name, len(own), _mean([each.activity for each in own]), _memory_share(own))
        for own in readings.values()
    ]


def _memory_share(own: Sequence[Device]) -> float | None:
    shares = [each.used_bytes / each.total_bytes for each in own if each.used_bytes is not None and each.total_bytes]
    return fmean(shares) if shares else None


def _mean(activities: Sequence[Activity]) -> Activity:
    columns = (
        [value for value in column if value is not None] for column in zip(*map(astuple, activities), strict=True)
    )
    return Activity(*(fmean(column) if column else None for column in columns))


def activity_text(activity: Activity) -> str:
    """`87 % busy, 412 W, 1,980 MHz`; what is not known is said to be."""
    busy, power, clock = astuple(activity)
    known = [
        f"{busy:.0f} % busy" if busy is not None else "",
        f"{power:,.0f} W" if power is not None else "",
        f"{clock:,.0f} MHz" if clock is not None else "",
    ]
    unknown = [name for name, text in zip(("utilization", "power", "clock"), known, strict=True) if not text]
    return ", ".join([*filter(None, known), *([f"{', '.join(unknown)} unknown"] if unknown else [])])


def sampled_text(device: SampledDevice) -> str:
    """Its means in a line: `GPU 0  H100: 87 % busy, 412 W, 1,980 MHz, 45.0 % of its memory (mean of 5 samples)`."""
    share = device.memory_share
    memory = f", {100 * share:.1f} % of its memory" if share is not None else ""
    samples = f"{device.samples} sample{'s' * (device.samples != 1)}"
    return f"GPU {device.index}  {device.name}: {activity_text(device.activity)}{memory} (mean of {samples})"
