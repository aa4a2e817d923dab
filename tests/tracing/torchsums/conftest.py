"""The folder that most tests of torch traces begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tracing.torchsums.torchfolders import worker


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return worker(tmp_path)
