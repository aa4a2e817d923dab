"""A variant's own server answers inside its block and is gone after it; one that does not come up says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from offline.variants.started import own_server
from probes.processes.engine import EngineFailed
from probes.serve.client import healthy, here

FAKE = Path(__file__).resolve().parents[2] / "fake_vllm"


@pytest.fixture(autouse=True)
def fake_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FAKE))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # is for the world outside, and nothing listens there


def test_a_server_answers_inside_the_block_and_is_gone_after_it(tmp_path: Path) -> None:
    with own_server({"max_model_len": 128, "enforce_eager": True}, "m", tmp_path / "server.txt", 60.0) as url:
        port = int(url.removesuffix("/v1").rpartition(":")[2])
        assert healthy(here(port))
    assert not healthy(here(port))


def test_a_server_that_does_not_come_up_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    module = tmp_path / "vllm" / "entrypoints" / "openai" / "api_server.py"
    module.parent.mkdir(parents=True)
    module.write_text("raise ValueError('No common block size for 16')")
    for folder in (tmp_path / "vllm", tmp_path / "vllm" / "entrypoints", module.parent):
        (folder / "__init__.py").touch()
    words = pytest.raises(EngineFailed, match="No common block size for 16")
    with words as failure, own_server({}, "m", tmp_path / "server.txt", 60.0):
        pass
    assert failure.value.refused
