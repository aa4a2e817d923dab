"""What the bench of planted stages plants: delays in the source of functions, in every process that imports them."""

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
import sys, time, slow
def is_late(function):
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin >= 0.05
functions = slow.Scheduler().schedule, slow.other
for byte in 0, 1, 2:
    with open(sys.argv[1], "r+b") as file:
        file.write(bytes([byte]))
    print(*(is_late(function) for function in functions))
print(functions[0](), functions[0].__doc__)
"""
ANSWER = """False False
True False
False True
picked Pick what runs.
"""


def test_the_function_whose_number_is_asked_for_alone_is_late_and_does_what_it_did(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_bytes(SOURCE)
    switch = tmp_path / "switch"
    switch.write_bytes(b"\0")
    variables = {VARIABLE: f"{switch} 50 slow:Scheduler.schedule slow:other", "PYTHONPATH": f"{PLANTING}:{tmp_path}"}
    words = [sys.executable, "-c", PROGRAM, str(switch)]
    done = subprocess.run(words, env=os.environ | variables, capture_output=True, text=True, timeout=60)
    assert done.stdout == ANSWER, done.stderr


def test_what_is_not_there_cannot_be_planted() -> None:
    with pytest.raises(KeyError):
        planted(SOURCE, {"Scheduler.update": 1}, 1)
