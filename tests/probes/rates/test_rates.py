"""The machine's rates: measured small, shown with their units, kept apart from what runs are compared by."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from probes.doctor.resources import model_threads
from probes.jsonform import read_record
from probes.machine import COMPARED, Machine
from probes.rates import rates
from probes.rates.rates import Rates, ask_rates
from tests.needs import needs_torch
from tests.probes.doctor.machines import machine

CPU_RATES = Rates("cpu", 3, 10.6e9, {"float32": 85.2e9, "bfloat16": 0.9e9}, "2026-11-25T16:18:47+0000")


def test_rates_are_shown_with_their_units() -> None:
    assert CPU_RATES.describe().splitlines() == [
        "device            cpu, 3 threads",
        "memory            10.6 GB/s",
        "matrix float32    85.2 GFLOP/s",
        "matrix bfloat16   0.9 GFLOP/s",
    ]


def test_rates_survive_json_and_are_no_part_of_the_fingerprint() -> None:
    assert read_record(Rates, CPU_RATES.as_dict()) == CPU_RATES
    assert "rates" not in {*COMPARED, *(field.name for field in fields(Machine))}


@pytest.mark.parametrize("script", ["print('no JSON')", "print('{}')", "raise SystemExit(1)"])
def test_rates_that_cannot_be_measured_are_not_known(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "COMMAND", (rates.COMMAND[0], "-c", script))
    assert ask_rates() is None


@needs_torch
def test_rates_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    from probes.rates import torchrates

    monkeypatch.setattr(torchrates, "EACH_S", 0.0)
    monkeypatch.setattr(torchrates, "READ_VALUES", 1 << 16)
    monkeypatch.setattr(torchrates, "LARGEST", {"cpu": 256})
    monkeypatch.setattr(torchrates, "engine_platform", lambda: "cpu")
    measured = torchrates.measure_rates()
    assert (measured.device, list(measured.matrix_flop_s)) == ("cpu", ["float32", "bfloat16"])
    assert measured.threads and min(measured.memory_bytes_s, *measured.matrix_flop_s.values()) > 0


@pytest.mark.parametrize(
    ("environ", "threads"),
    [
        ({}, 3),  # four cores, of which vLLM keeps one
        ({"VLLM_CPU_OMP_THREADS_BIND": "nobind"}, 4),
        ({"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "2"}, 2),
        ({"VLLM_CPU_OMP_THREADS_BIND": "0-1|2-3"}, 2),
    ],
)
def test_threads_are_those_of_the_engine(environ: dict[str, str], threads: int, tmp_path: Path) -> None:
    assert model_threads(machine(tmp_path, cpus=frozenset(range(4)), environ=environ)) == threads
