"""Stacks of an engine's core as py-spy names them, and whether a function that is named like that is installed."""

from __future__ import annotations

import ast
import importlib.util
import sysconfig
from pathlib import Path

import pytest

from tracing.source.tree import Missing, SourceTree

SITE = "/env/lib/python3.11/site-packages/"
MAIN = ("EngineCoreProc.run_engine_core", f"{SITE}vllm/v1/engine/core.py", 10)
STEP = ("EngineCore.step", f"{SITE}vllm/v1/engine/core.py", 20)
SCHEDULE = ("Scheduler.schedule", f"{SITE}vllm/v1/core/sched/scheduler.py", 30)
SPIN = ("MessageQueue.acquire_read", f"{SITE}vllm/distributed/device_communicators/shm_broadcast.py", 40)
RESULT = ("FutureWrapper.result", f"{SITE}vllm/v1/executor/multiproc_executor.py", 45)
YIELD = ("sched_yield", f"{SITE}vllm/distributed/utils.py", 50)
GET = ("Queue.get", "/usr/lib/python3.11/queue.py", 171)
WAIT = ("Condition.wait", "/usr/lib/python3.11/threading.py", 327)
CORE = (11, 12, "MainThread")
WORKING, WAITING = (MAIN, STEP, SCHEDULE), (MAIN, STEP, RESULT, SPIN, YIELD)


def is_there(file: str, name: str | None) -> bool:
    """Whether a file holds a function, or is there at all: vLLM's source, the standard library, what is installed.

    A test is skipped where that is of a package which is not installed.
    """
    owner = file.partition("/")[0]
    if owner in ("vllm", "torch", "triton", "uvloop", "zmq") and importlib.util.find_spec(owner) is None:
        pytest.skip(f"{owner} is not installed")
    if file.startswith("vllm/"):
        tree, module = SourceTree.find(None), file.removesuffix(".py").replace("/", ".")
        return not isinstance(tree.resolve(f"{module}:{name}") if name else tree.definitions(module), Missing)
    places = [Path(sysconfig.get_path(key), file) for key in ("stdlib", "platlib")]
    place = next((place for place in places if place.exists()), None)
    return place is not None and (name is None or name in names_in(place))


def names_in(path: Path) -> set[str]:
    """The functions of a source file by qualified name, under an `if` too."""
    tree = ast.parse(path.read_text())
    owners = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return functions | {
        f"{o.name}.{node.name}" for o in owners for node in ast.walk(o) if isinstance(node, ast.FunctionDef)
    }
