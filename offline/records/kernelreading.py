"""The fixed kernel on a GPU, as a trial's record holds it: raw times of the device's own events, and its clocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from probes.columns import column


@dataclass(frozen=True)
class KernelReading:
    """The kernel on one GPU, before or after the batch of a trial; None where the driver does not tell."""

    name: str = field(metadata=column("the GPU's name"))
    uuid: str = field(metadata=column("the word by which its driver names it"))
    memory_ns: tuple[int, ...] = field(metadata=column("copies in its memory, each repeat", "ns"))
    compute_ns: tuple[int, ...] = field(metadata=column("products of matrices, each repeat", "ns"))
    compute_mhz: float | None = field(default=None, metadata=column("clock of its compute units meanwhile", "MHz"))
    memory_mhz: float | None = field(default=None, metadata=column("clock of its memory meanwhile", "MHz"))
    throttle_reasons: tuple[str, ...] | None = field(
        default=None, metadata=column("what held its clocks down meanwhile, by its driver")
    )

    @property
    def kernel_s(self) -> float:
        """One copy part and one compute part: the median of each."""
        return (median(self.memory_ns) + median(self.compute_ns)) / 1e9


def slowest_s(readings: Sequence[KernelReading]) -> float | None:
    """The kernel's time on the slowest GPU, which all others wait for: mean of its readings; None without any."""
    by_gpu: dict[str, list[float]] = {}
    for reading in readings:
        by_gpu.setdefault(reading.uuid, []).append(reading.kernel_s)
    return max(map(fmean, by_gpu.values()), default=None)


def clocks_sentence(readings: Sequence[KernelReading]) -> str:
    """`Compute clock 1,755 to 1,980 MHz, memory clock 2,619 MHz; held down by power cap in 3 of 48 readings.`"""
    clocks = [_span("compute clock", [each.compute_mhz for each in readings])]
    clocks += [_span("memory clock", [each.memory_mhz for each in readings])]
    known = [each.throttle_reasons for each in readings if each.throttle_reasons is not None]
    names = sorted({name for reasons in known for name in reasons})
    held = ", ".join(f"{name} in {sum(name in each for each in known)} of {len(known)} readings" for name in names)
    throttling = f"held down by {held}" if names else "nothing held them down" if known else "throttling not told"
    return f"{', '.join(clocks).capitalize().replace('mhz', 'MHz')}; {throttling}."


def _span(name: str, values: Sequence[float | None]) -> str:
    known = sorted(value for value in values if value is not None)
    if not known:
        return f"{name} not told"
    low, high = f"{known[0]:,.0f}", f"{known[-1]:,.0f}"
    return f"{name} {low if low == high else f'{low} to {high}'} MHz"
