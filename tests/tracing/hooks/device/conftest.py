"""Records that the tests of this folder write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracing.hooks.eventrecords import written


@pytest.fixture
def file() -> Iterator[Path]:
    with written(most=1 << 17) as path:
        yield path
