"""A trace that the installed torch writes lies on the timeline where it ran."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.needs import needs_torch
from tests.tracing.torchsums.torchfolders import sums
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.torchsums import operators

ROOT = Path(__file__).resolve().parents[3]

REAL = """
import json, os, sys, threading, time
import torch
from torch.profiler import ProfilerActivity, profile
from tracing.hooks.recorder import anchor
clock, marks, matrix = anchor(), [], torch.randn(64, 64)
torch.mm(matrix, matrix)
with profile(activities=[ProfilerActivity.CPU]) as watched:
    for _ in range(5):
        time.sleep(0.01)
        start = time.monotonic_ns()
        torch.mm(matrix, matrix)
        marks.append((start, time.monotonic_ns()))
watched.export_chrome_trace(sys.argv[1])
print(json.dumps({"pid": os.getpid(), "thread": threading.get_native_id(), "anchor": clock, "marks": marks}))
"""


@needs_torch
@pytest.mark.slow(15)
def test_what_torch_writes_lies_where_it_ran(tmp_path: Path) -> None:
    path = tmp_path / "torch" / "mine.json.gz"
    path.parent.mkdir()
    command = [sys.executable, "-c", REAL, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    process: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    writer = TraceWriter(tmp_path, process["pid"], ["worker"], threads={process["thread"]: "MainThread"})
    for step, (start, end) in enumerate(process["marks"]):
        writer.span("model.forward", start, end, step=step, thread=process["thread"])
    writer.close(anchor=process["anchor"])
    assert {key[2]: count for key, (count, _) in sums(tmp_path).items() if key[1] == "aten::mm"} == {"forward": 5}
    for step in range(5):
        read = operators.read(timeline.read(tmp_path), step)
        assert read is not None
        assert read.names.set_index("name").loc["aten::mm", "count"] == 1
