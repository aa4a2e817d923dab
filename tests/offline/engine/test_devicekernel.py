"""The kernel that is timed on a device: with a pretend device's events, and where there is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from offline.engine.devicekernel import REPEATS, DeviceKernel, repeat, time_parts
from offline.records.kernelreading import KernelReading, clocks_sentence, slowest_s
from probes.devices.clocks import DeviceClocks

READING = KernelReading("H100", "GPU-a", (1_000_000, 9_000_000, 1_100_000), (2_000_000,) * 3)


@dataclass
class PretendStream:
    """A device that does what is launched only when it is waited for; times in milliseconds."""

    launched: list[float | PretendEvent] = field(default_factory=list)
    now_ms: float = 0.0

    def event(self) -> PretendEvent:
        return PretendEvent(self)

    def run(self) -> None:
        for each in self.launched:
            if isinstance(each, PretendEvent):
                each.at_ms = self.now_ms
            else:
                self.now_ms += each
        self.launched.clear()


@dataclass
class PretendEvent:
    stream: PretendStream
    at_ms: float | None = None

    def record(self) -> None:
        self.stream.launched.append(self)

    def synchronize(self) -> None:
        self.stream.run()

    def elapsed_time(self, end_event: PretendEvent) -> float:
        assert self.at_ms is not None and end_event.at_ms is not None
        return end_event.at_ms - self.at_ms


def test_each_repeat_is_timed_by_the_devices_events_and_clocks_are_read_while_it_works() -> None:
    stream, waiting = PretendStream(), list[int]()

    def clocks(uuid: str) -> DeviceClocks:
        waiting.append(len(stream.launched))
        return DeviceClocks(1980, 2619, ())

    parts = {"memory_ns": lambda: stream.launched.append(0.25), "compute_ns": lambda: stream.launched.append(1.5)}
    times, reading = time_parts(parts, stream.event, "GPU-a", clocks)
    assert times == {"memory_ns": (250_000,) * REPEATS, "compute_ns": (1_500_000,) * REPEATS}
    # All was launched and nothing had run: of each part a piece that does not count, then begin, work and end of each.
    assert waiting == [2 * (1 + 3 * REPEATS)] and reading == DeviceClocks(1980, 2619, ())
    assert stream.now_ms == (1 + REPEATS) * 1.75


def test_work_is_repeated() -> None:
    calls: list[int] = []
    repeat(lambda: calls.append(1), 3)
    assert calls == [1, 1, 1]


def test_a_worker_without_such_a_device_says_so() -> None:
    worker = DeviceKernel()
    worker.device = SimpleNamespace(type="cpu")
    answer = worker.enginescope_device_kernel()
    assert answer == {"note": "the kernel is one of CUDA and ROCm, the engine runs on cpu"}


def test_what_torch_says_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(device: object) -> KernelReading:
        raise RuntimeError("CUDA out of memory.\nOf the allocated memory …")

    monkeypatch.setattr("offline.engine.devicekernel.read_kernel", fail)
    worker = DeviceKernel()
    worker.device = SimpleNamespace(type="cuda")
    assert worker.enginescope_device_kernel() == {"note": "RuntimeError: CUDA out of memory."}


def test_a_reading_is_the_medians_of_both_parts_and_the_slowest_gpu_counts() -> None:
    other = KernelReading("H100", "GPU-b", (3_000_000,), (1_100_000,))
    assert READING.kernel_s == pytest.approx(0.0031)
    assert slowest_s([READING, other, READING, other]) == pytest.approx(0.0041)
    assert slowest_s([]) is None


@pytest.mark.parametrize(
    ("readings", "sentence"),
    [
        (
            [("power cap",), ("power cap", "heat, by the driver"), ()],
            "Compute clock 1,980 MHz, memory clock 2,619 MHz; "
            "held down by heat, by the driver in 1 of 3 readings, power cap in 2 of 3 readings.",
        ),
        ([()], "Compute clock 1,980 MHz, memory clock 2,619 MHz; nothing held them down."),
        ([None], "Compute clock 1,980 MHz, memory clock 2,619 MHz; throttling not told."),
    ],
)
def test_clocks_in_a_sentence(readings: list[tuple[str, ...] | None], sentence: str) -> None:
    made = [KernelReading("H100", "GPU-a", (1,), (1,), 1980, 2619, reasons) for reasons in readings]
    assert clocks_sentence(made) == sentence


def test_clocks_that_moved_and_clocks_that_are_not_told() -> None:
    made = [KernelReading("H100", "GPU-a", (1,), (1,), mhz) for mhz in (1755, 1980)]
    assert clocks_sentence(made) == "Compute clock 1,755 to 1,980 MHz, memory clock not told; throttling not told."
