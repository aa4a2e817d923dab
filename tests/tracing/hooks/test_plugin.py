"""vLLM's processes are hooked whatever stands in the folder where they were started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from enginescope_plugin import NVTX, STEP_LOG, TRACE
from tracing import timeline

ROOT = Path(__file__).resolve().parents[3]
# As vLLM does it: the entry points of its group are called before the engine is imported.
ENGINE = """
import importlib.metadata, multiprocessing

def load():
    for entry in importlib.metadata.entry_points(group="vllm.general_plugins", name="enginescope"):
        entry.load()()
    from vllm.v1.core.sched.scheduler import Scheduler
    return Scheduler()

def work():
    print(load().schedule(1, 0))

if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=work)
    child.start()
    child.join()
    import tracing, probes, notes, offline
    print(tracing.MINE, probes.MINE, notes.MINE, offline.MINE, child.exitcode)
"""
SCHEDULER = """
from types import SimpleNamespace

class Scheduler:
    def __init__(self):
        pool = SimpleNamespace(num_gpu_blocks=10, get_num_free_blocks=lambda: 6)
        self.kv_cache_manager, self.waiting = SimpleNamespace(block_pool=pool), []

    def schedule(self, running, step):
        cached = SimpleNamespace(req_ids=["a"], num_output_tokens=[3], resumed_req_ids=set())
        return SimpleNamespace(
            num_scheduled_tokens={"a": 1}, total_num_scheduled_tokens=1, scheduled_new_reqs=[],
            scheduled_cached_reqs=cached, preempted_req_ids=set(), finished_req_ids=set(),
        )

    def update_from_output(self):
        return {}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's own project, with names that are ours, and a stand-in for vLLM."""
    folder = tmp_path / "project"
    files = {name: "MINE = 'mine'" for name in ("tracing.py", "probes/__init__.py", "notes.py", "offline.py")}
    files |= {"vllm/v1/core/sched/scheduler.py": SCHEDULER, "engine.py": ENGINE}
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for inside in ("vllm", "vllm/v1", "vllm/v1/core", "vllm/v1/core/sched"):
        (folder / inside / "__init__.py").touch()
    return folder


def test_a_project_with_our_names_is_recorded(project: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.mkdir()
    environment = {name: text for name, text in os.environ.items() if name not in (STEP_LOG, NVTX, "PYTHONPATH")}
    done = subprocess.run(
        [sys.executable, "engine.py"],
        cwd=project,
        env=environment | {TRACE: str(trace)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == "" and done.stdout.splitlines()[-1] == "mine mine mine mine 0"
    [process] = trace.glob("process-*.json")
    assert json.loads(process.read_text())["hooked"] == ["scheduler.schedule", "scheduler.update"]
    read = timeline.read(trace)
    assert set(read.spans["site"]) - {"gc"} == {"scheduler.schedule"}
    assert read.steps["decode_tokens"].tolist() == [1]
