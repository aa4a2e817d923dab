"""What the process of an engine start is started with."""

from __future__ import annotations

import os

import pytest

from offline.engine.process import with_plugin


@pytest.mark.parametrize(
    ("own", "extended"),
    [
        ("a,b", {"VLLM_PLUGINS": "a,b,enginescope"}),
        ("enginescope,a", {}),
        ("", {"VLLM_PLUGINS": "enginescope"}),
        (None, {}),
    ],
)
def test_a_list_of_plugins_is_extended(
    own: str | None, extended: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VLLM_PLUGINS", raising=False)
    if own is not None:
        monkeypatch.setenv("VLLM_PLUGINS", own)
    assert with_plugin() == extended
    assert os.environ.get("VLLM_PLUGINS") == own
