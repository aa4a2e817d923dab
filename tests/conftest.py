"""What tests share: no property is timed, since machines are shared and a slow moment is no fault; Ctrl-C reaches what
they start; and the server that the batch client is tried on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.probes.stub_server import Stub, serving

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A job that a shell put into the background ignores Ctrl-C, and so would every command that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest files go first: one that is begun last is what the other processes wait for."""
    seconds: dict[Path, int] = {}
    for item in items:
        for marker in item.iter_markers("slow"):
            seconds[item.path] = max([seconds.get(item.path, 0), *marker.args])
    items.sort(key=lambda item: -seconds.get(item.path, 0))


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Stub, str]]:
    """A server that does everything wrong, as the path asks, and its address."""
    with serving() as (stub, url):
        yield stub, url
