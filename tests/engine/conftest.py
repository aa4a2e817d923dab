"""Traces that several files of tests read, each recorded once in a run; none has a running engine any more.

| fixture       | program           | engine's processes |
| ------------- | ----------------- | ------------------ |
| `batch`       | `batch_then_kill` | forked             |
| `streams`     | `streams`         | spawned            |
| `preempted`   | `preempted`       | forked             |
| `one_process` | `one_process`     | only one           |

Fixtures of a session are made once in a process of pytest: a file that reads such a trace is one of `TRACE_READERS`
(`tests/conftest.py`), which one process runs.
"""

from __future__ import annotations

import os
import shutil

import pytest

from enginescope_plugin import LISTENER
from tests.engine.recording import FORKED, Trace, record_program
from tests.notes.study import clientblocks


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
def preempted(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """A KV cache too small for its batch, in vLLM's usual processes."""
    return record_program("preempted", tmp_path_factory.mktemp("preempted") / "trace", **FORKED)


@pytest.fixture(scope="session")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """A KV cache too small for its batch, all in one process; then the study plan's example of an engine offline."""
    [example] = clientblocks.blocks("python", "offline")
    return record_program("one_process", tmp_path_factory.mktemp("one-process") / "trace", example, **FORKED)
