"""GPUs as their driver tells of them (a stub of it), and how evenly an engine uses them."""

from __future__ import annotations

import os

import pytest

from probes.devices import Device, balance, devices, of_engine
from probes.memory.account import Memory
from probes.memory.table import report
from tests.probes.memorycommand import MIB

DRIVER = """#!/bin/sh
case "$1" in
--query-gpu*) cat <<'END'
0, GPU-a, NVIDIA H100 80GB HBM3, 61000, 81559
1, GPU-b, NVIDIA H100 80GB HBM3, 59000, 81559
2, GPU-c, NVIDIA H100 80GB HBM3, 4, 81559
3, GPU-d, GB10, [N/A], [N/A]
END
;;
*) cat <<'END'
GPU-a, 41, 60000
GPU-b, 42, 54000
GPU-b, 77, 4000
END
;;
esac
"""


@pytest.fixture
def driver(tmp_path, monkeypatch) -> None:
    """A machine with four GPUs, the last of which has no memory of its own."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(DRIVER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_devices_and_balance(driver) -> None:
    found = devices({41, 42})
    assert [each.index for each in found] == [0, 1, 2]
    assert found[1] == Device(1, "NVIDIA H100 80GB HBM3", 59000 * MIB, 81559 * MIB, 54000 * MIB)
    assert [each.index for each in of_engine(found)] == [0, 1]
    assert balance(found) == 0.9
    lines = list(report(Memory([], None, None, [], found)))
    assert "GPU 1     NVIDIA H100 80GB HBM3: 57.62 GiB of 79.65 GiB used, 52.73 GiB of it this engine's" in lines
    assert any(line.startswith("balance   90 %") for line in lines)


def test_a_driver_that_does_not_know_our_processes(driver) -> None:
    found = devices({1})
    assert [each.engine for each in found] == [None, None, None]
    assert balance(found) == pytest.approx(4 / 61000)
    assert balance([]) is None


def test_no_driver(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert devices({1}) == []
