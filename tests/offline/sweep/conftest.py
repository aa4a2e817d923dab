"""What the tests of whole sweeps share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a model without weights, which is enough for the stand-in for vLLM."""
    folder = tmp_path_factory.mktemp("models") / "nothing"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return str(folder)
