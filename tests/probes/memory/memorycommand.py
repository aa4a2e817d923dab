"""The memory command, processes with vLLM's titles, and a small model on disk."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.probes.shardedmodel import safetensors

ROOT = Path(__file__).resolve().parents[3]
MIB = 2**20
# A front end that starts a core, which starts two workers, all titled as vLLM does: by the first word of their command
# line. Each waits for the end of its standard input, so that none outlives the test. A Python started under such a name
# does not know its own program, so it is told.
TITLED = f"""
import subprocess, sys
def titled(title, code):
    return subprocess.Popen([title, "-c", code], executable={sys.executable!r}, stdin=subprocess.PIPE)
"""
WAIT = "import sys; sys.stdin.read()"
CORE = f"""{TITLED}
workers = [titled(title, {WAIT!r}) for title in ("VLLM::Worker_TP0", "VLLM::Worker_TP1")]
print(*[worker.pid for worker in workers], flush=True)
sys.stdin.read()
"""
TREE = f"""{TITLED}
core = titled("VLLM::EngineCore", {CORE!r})
helper = subprocess.Popen([sys.executable, "-c", {WAIT!r}], stdin=subprocess.PIPE)
print(core.pid, helper.pid, flush=True)
sys.stdin.read()
"""
WRAPPER = "import subprocess, sys; subprocess.run(sys.argv[1:])"


@contextmanager
def tree(*words: str, cwd: Path = ROOT, wrapped: bool = False) -> Iterator[dict[str, int]]:
    """Such a tree, started with `words`, and the PIDs of its parts; `wrapped` in a Python and a shell."""
    line = [sys.executable, "-c", TREE, *words]
    if wrapped:
        line = [sys.executable, "-c", WRAPPER, "sh", "-c", '"$0" "$@"; true', *line]
    front = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=cwd)
    assert front.stdin is not None and front.stdout is not None
    try:
        lines = sorted((front.stdout.readline().split() for _ in range(2)), key=lambda pids: str(front.pid) in pids)
        pids = [int(pid) for pids in lines for pid in pids]
        if not wrapped:
            yield named(front.pid, pids)
        else:
            shell = psutil.Process(front.pid).children()[0]
            [engine] = shell.children()
            yield {**named(engine.pid, pids), "wrapper": front.pid, "shell": shell.pid}
    finally:
        family = psutil.Process(front.pid).children(recursive=True)
        front.stdin.close()
        front.wait(timeout=120)
        for each in psutil.wait_procs(family, timeout=120)[1]:
            with suppress(psutil.NoSuchProcess):
                each.kill()


def named(front: int, pids: list[int]) -> dict[str, int]:
    """Which of them is which, once all have become what they are to be."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        # A process in the middle of its exec has no command line for a moment.
        titles = {pid: (psutil.Process(pid).cmdline() or [""])[0] for pid in pids}
        if sum(title.startswith("VLLM::") for title in titles.values()) == 3:
            break
        time.sleep(0.02)
    names = {
        title.removeprefix("VLLM::") if title.startswith("VLLM::") else "helper": pid for pid, title in titles.items()
    }
    return {"front end": front, **names}


def run(*words: str, **options) -> subprocess.CompletedProcess[str]:
    """The command."""
    line = [sys.executable, "-m", "probes.memory", *words]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, **options)


def small_model(tmp_path: Path) -> Path:
    """A model of two layers, 3,000 parameters in two files."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a.safetensors").write_bytes(safetensors({"w": ("BF16", [10, 100], 2000), "i": ("I32", [1000], 4000)}))
    (folder / "b.safetensors").write_bytes(safetensors({"v": ("BF16", [1000], 2000)}))
    config = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 64}
    (folder / "config.json").write_text(json.dumps(config | {"torch_dtype": "bfloat16"}))
    return folder
