"""Traces that several tests read, each recorded once in a run of the tests; none has a running engine any more.

| fixture          | program           | engine's processes | carries time bounds |
| `batch`          | `batch_then_kill` | forked             | yes: recorded alone |
| `streams`        | `streams`         | spawned            | yes: recorded alone |
| `preempted`      | `preempted`       | forked             | no                  |
| `one_process`    | `one_process`     | only one           | no                  |
| `torch_profiled` | `torch_profiled`  | forked             | no                  |

Fixtures of a session are made once in a process of pytest: a test that reads such a trace is marked `alone`, so that
all of them run in the last phase's single process (`tests/phases.py`).
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from enginescope_plugin import LISTENER
from tests.engine.recording import FORKED, Trace, record_program

UNTIMED = ("preempted", "one_process", "torch_profiled")
AT_ONCE = 2


@pytest.fixture(scope="session")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """A batch of 16 requests, and one of four whose core is killed."""
    return record_program("batch_then_kill", tmp_path_factory.mktemp("batch") / "trace", **FORKED)


@pytest.fixture(scope="session")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """Eight streams on AsyncLLM, one left, one refused, one of two children, with NVTX ranges.

    Nsight Systems captures them where it is installed; elsewhere the ranges are made for a tool that is none.
    """
    folder = tmp_path_factory.mktemp("streams") / "trace"
    if shutil.which("nsys"):
        return record_program("streams", folder, options=("--nsys",))
    return record_program("streams", folder, options=("--nvtx",), **{LISTENER: os.devnull})


@pytest.fixture(scope="session")
def untimed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trace]:
    """The traces without time bounds that the selected tests read, recorded two at a time."""
    used = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    names = [name for name in UNTIMED if name in used]
    folders = [tmp_path_factory.mktemp(name) / "trace" for name in names]

    def record(name: str, folder: Path) -> Trace:
        arguments = (str(folder / "torch"),) if name == "torch_profiled" else ()
        return record_program(name, folder, *arguments, **FORKED)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(names, pool.map(record, names, folders), strict=True))


@pytest.fixture(scope="session")
def preempted(untimed: dict[str, Trace]) -> Trace:
    """A KV cache too small for its batch, in vLLM's usual processes."""
    return untimed["preempted"]


@pytest.fixture(scope="session")
def one_process(untimed: dict[str, Trace]) -> Trace:
    """A KV cache too small for its batch, all in one process."""
    return untimed["one_process"]


@pytest.fixture(scope="session")
def torch_profiled(untimed: dict[str, Trace]) -> Trace:
    """A batch under vLLM's own torch profiler, whose files are in the folder `torch` of the trace."""
    return untimed["torch_profiled"]
