"""A thread's wait for a processor, as the kernel counts it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from probes.processes import runqueue


def test_beside_a_busy_neighbour_on_its_processor_a_thread_waits() -> None:
    cpu = min(os.sched_getaffinity(0))
    spin = f"import os; os.sched_setaffinity(0, {{{cpu}}}); print(flush=True)\nwhile True: pass"
    waits: list[int] = []

    def compute() -> None:
        os.sched_setaffinity(0, {cpu})  # of this thread only
        before, until = runqueue.queued_ns(), time.monotonic() + 0.3
        while time.monotonic() < until:
            pass
        waits.append(runqueue.queued_ns() - before)

    with subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) as neighbour:
        assert neighbour.stdout and neighbour.stdout.readline()
        thread = threading.Thread(target=compute)
        thread.start()
        thread.join()
        neighbour.kill()
    assert waits[0] > 20_000_000  # about half of 300 ms


@pytest.mark.parametrize("text", ["", "12", "a b c"])
def test_where_the_kernel_does_not_tell_it_is_nothing(tmp_path: Path, monkeypatch, text: str) -> None:
    monkeypatch.setattr(runqueue, "OWN_THREAD", tmp_path / "schedstat")
    assert runqueue.queued_ns() == 0
    (tmp_path / "schedstat").write_text(text)
    assert runqueue.queued_ns() == 0
