"""GPUs over a trial, with readings in place of a driver."""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest

from offline.records.lines import DeviceUse
from offline.sweep import devices
from offline.sweep.devices import DeviceWatch
from probes.devices import sampling
from probes.devices.device import Activity, Device, DeviceReading
from probes.devices.sampling import means
from tests.shells import until

H100 = Device("nvidia", 0, "H100", used_bytes=60, total_bytes=80, uuid="GPU-a")


def test_without_a_gpu_nothing_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "read_devices", lambda: DeviceReading([]))
    watch = DeviceWatch()
    watch.trial(lambda: {"start_ns": 0})
    assert (watch.present, watch.uses) == (False, ())


def test_a_trial_that_is_too_short_for_a_sample_has_memory_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "read_devices", lambda: DeviceReading([H100]))
    watch = DeviceWatch()
    watch.trial(lambda: {"start_ns": 0})
    assert watch.uses == (DeviceUse(0, "H100", 60, 80, None, None),)


def test_activity_is_of_the_trial() -> None:
    assert devices.device_use(H100, Activity(87.0, 412.0, 1980.0)) == DeviceUse(0, "H100", 60, 80, 87.0, 412.0)


def test_cards_of_two_vendors_with_one_number_keep_their_own_activity(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = [
        replace(H100, activity=Activity(87.0, 412.0, None)),
        Device("amd", 0, "Radeon", used_bytes=1, total_bytes=2, activity=Activity(3.0, 9.0, None)),
    ]
    for name in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(devices, "read_devices", lambda: DeviceReading(cards))
    monkeypatch.setattr(
        devices, "DeviceSampler", lambda: nullcontext(SimpleNamespace(take=lambda start_ns: means(cards)))
    )
    watch = DeviceWatch()
    watch.trial(lambda: {"start_ns": 0})
    assert {(each.name, each.utilization_percent) for each in watch.uses} == {("H100", 87.0), ("Radeon", 3.0)}


def test_a_hidden_gpu_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(devices, "read_devices", lambda: DeviceReading([H100]))
    assert not DeviceWatch().present


def test_samples_of_what_prepares_a_trial_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card is idle while a trial is prepared, and busy in it."""
    busy = threading.Event()

    def read() -> DeviceReading:
        activity = Activity(100.0 if busy.is_set() else 0.0, None, None)
        sampled.append(activity)
        return DeviceReading([replace(H100, activity=activity)])

    def run() -> dict[str, int]:
        until(lambda: sampled, 10)
        busy.set()
        start_ns = time.monotonic_ns()
        count = len(sampled)
        until(lambda: len(sampled) > count + 1, 10)
        return {"start_ns": start_ns}

    sampled: list[Activity] = []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "read_devices", lambda: DeviceReading([H100]))
    monkeypatch.setattr(sampling, "read_devices", read)
    monkeypatch.setattr(sampling, "EVERY_S", 0.01)
    watch = DeviceWatch()
    watch.trial(run)
    assert [use.utilization_percent for use in watch.uses] == [100.0]
