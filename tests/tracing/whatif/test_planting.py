"""What the bench of planted engines plants: a delay in the source of one function, in every process that imports it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.planted_stages import PLANTING
from tests.bench.planting.sitecustomize import VARIABLE, planted

SOURCE = b'''
class Scheduler:
    def schedule(self):
        """Pick what runs."""
        return "picked"

def other():
    return "other"
'''
PROGRAM = """
import time, slow
def length(function):
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin
print(slow.Scheduler().schedule(), length(slow.Scheduler().schedule) >= 0.05, slow.Scheduler.schedule.__doc__)
"""


def test_the_named_function_alone_is_late_and_does_what_it_did(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_bytes(SOURCE)
    environment = os.environ | {VARIABLE: "slow:Scheduler.schedule 50", "PYTHONPATH": f"{PLANTING}:{tmp_path}"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "picked True Pick what runs.\n", done.stderr


def test_what_is_not_there_cannot_be_planted() -> None:
    with pytest.raises(KeyError):
        planted(SOURCE, "Scheduler.update", 1)
