"""What tests share: no property is timed, since machines are shared and a slow moment is no fault; Ctrl-C reaches what
they start; the order and the grouping of files; and the server that the batch client is tried on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from tests.probes.client.stub_server import Stub, serving

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# These files read the traces of `engine/conftest.py`.
TRACE_READERS = ("test_notes_engine.py", "test_nsys_capture.py", "test_trace_engine.py")
# These run nsys: one that starts while another ends may find its semaphore gone (`sem_open`), and dies.
NSYS_USERS = ("test_secrets.py", "test_ranges.py", "test_capture.py", "test_nsys_capture.py")
ONE_PROCESS = (*TRACE_READERS, *NSYS_USERS)

# A job that a shell put into the background ignores Ctrl-C, and so would every command that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest files go first: one that is begun last is what the other processes wait for."""
    seconds: dict[Path, int] = {}
    for item in items:
        for marker in item.iter_markers("slow"):
            seconds[item.path] = max([seconds.get(item.path, 0), *marker.args])
    items.sort(key=lambda item: -seconds.get(item.path, 0))


class SharedTraces(LoadFileScheduling):
    """By file, but for those that read the same traces, which are recorded once, and those that run nsys."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "one process" if file.endswith(ONE_PROCESS) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharedTraces:
    return SharedTraces(config, log)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Stub, str]]:
    """A server that does everything wrong, as the path asks, and its address."""
    with serving() as (stub, url):
        yield stub, url
