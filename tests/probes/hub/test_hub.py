"""A model in a hub's cache and on a hub of our own: whole, a shard missing, one cut off, gated, unknown."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from probes.doctor.model import findings
from probes.doctor.model.findings import files, hub, weights
from probes.doctor.model.subject import getting, subject
from probes.errors import EnginescopeError
from probes.hub.settings import HubSettings, hub_settings, model_places
from tests.needs import needs_vllm
from tests.probes.hub.localhub import LocalHub, local_hub
from tests.probes.shardedmodel import SHARDS, cached, sharded_model

NAME = "ann/small"


@pytest.fixture
def running() -> Iterator[LocalHub]:
    with local_hub(LocalHub({NAME: sharded_model(), "ann/closed": sharded_model()}, gated={"ann/closed"})) as hub:
        yield hub


@pytest.fixture
def settings(running: LocalHub, tmp_path: Path) -> HubSettings:
    return hub_settings({"HF_ENDPOINT": running.url, "HF_HUB_CACHE": str(tmp_path / "cache")})


def test_a_whole_model_is_found_without_the_hub(running: LocalHub, settings: HubSettings) -> None:
    snapshot = cached(settings.cache, NAME, sharded_model())
    of = subject(NAME, settings)
    assert (of.is_complete, of.folder, of.loaded_bytes, of.parameters) == (True, snapshot, 6000, 3000)
    assert getting(of, settings) == [] and running.asked == []
    assert files(of, settings).detail == f"{snapshot}: 2 weight files, all whole"


@needs_vllm
def test_a_model_that_is_not_here_is_known_by_the_hub(
    running: LocalHub, settings: HubSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = subject(NAME, settings)
    assert (of.is_complete, of.folder, of.loaded_bytes, of.config.heads) == (False, None, 6000, 4)
    assert getting(of, settings) == [f"HF_ENDPOINT={running.url} hf download {NAME}"]
    monkeypatch.setattr(findings, "free_bytes", lambda cache: {settings.cache: 2**30}[cache])
    assert files(of, settings).detail == ("not here; 0 of 2 weight files whole; 0.0 MiB to fetch, 1.00 GiB free there")
    monkeypatch.setattr(findings, "free_bytes", lambda _: 6000)
    assert "too little room" in files(of, settings).detail
    assert weights(of).detail.endswith("2 weight files, as its files, index or hub state, bfloat16")
    assert not settings.cache.exists()  # asking leaves nothing behind


@needs_vllm
def test_a_missing_shard(settings: HubSettings) -> None:
    whole = sharded_model()
    snapshot = cached(settings.cache, NAME, {name: body for name, body in whole.items() if name != SHARDS[1]})
    of = subject(NAME, settings)
    assert [each.state for each in of.files] == ["whole", "missing"]
    finding = files(of, settings)
    assert finding.status == "block"
    assert finding.detail.startswith(f"{snapshot}; 1 of 2 weight files whole: {SHARDS[1]} is missing; ")


@needs_vllm
@pytest.mark.parametrize("kept_bytes", [3000, 60, 4])
def test_a_shard_that_was_cut_off(settings: HubSettings, kept_bytes: int) -> None:
    """In its values, in its header, in the header's length."""
    snapshot = cached(settings.cache, NAME, sharded_model() | {SHARDS[1]: sharded_model()[SHARDS[1]][:kept_bytes]})
    of = subject(NAME, settings)
    size = len(sharded_model()[SHARDS[1]])
    assert f"{SHARDS[1]} is cut off at {kept_bytes:,} of {size:,} bytes" in files(of, settings).detail
    assert getting(of, settings)[0] == f'rm -f "$(readlink -f {snapshot}/{SHARDS[1]})" {snapshot}/{SHARDS[1]}'


@needs_vllm
@pytest.mark.parametrize("damage", ["missing", "cut off"])
def test_the_lines_mend_it(settings: HubSettings, damage: str, tmp_path: Path) -> None:
    whole = sharded_model()
    rest = {} if damage == "missing" else {SHARDS[1]: whole[SHARDS[1]][:100]}
    cached(settings.cache, NAME, {name: body for name, body in whole.items() if name != SHARDS[1]} | rest)
    lines = "\n".join(getting(subject(NAME, settings), settings))
    environ = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}", "HOME": str(tmp_path)}
    environ |= {"HF_HUB_CACHE": str(settings.cache), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(["bash", "-ec", lines], env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert subject(NAME, settings).is_complete


@needs_vllm
def test_gated_unknown_and_silent(running: LocalHub, settings: HubSettings, tmp_path: Path) -> None:
    gated = subject("ann/closed", settings)
    assert (gated.hub.state, [each.state for each in gated.files]) == ("gated", ["missing", "missing"])
    assert getting(gated, settings)[0].startswith("hf auth login ")
    unknown = subject("ann/none", settings)
    assert files(unknown, settings).detail == (
        f"not here, and {running.url} has no such model, or it is private: check the name"
    )
    silent = hub_settings({"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_CACHE": str(tmp_path)})
    assert subject(NAME, silent).hub.why == "http://127.0.0.1:9 does not answer (ConnectError)"


def test_offline_asks_nobody(running: LocalHub, settings: HubSettings) -> None:
    offline = hub_settings({"HF_ENDPOINT": running.url, "HF_HUB_CACHE": str(settings.cache), "HF_HUB_OFFLINE": "1"})
    of = subject(NAME, offline)
    assert running.asked == []
    assert files(of, offline).detail == "not here; no weight files (hub not asked: HF_HUB_OFFLINE is set)"
    assert getting(of, offline) == [
        f"env -u HF_HUB_OFFLINE -u TRANSFORMERS_OFFLINE HF_ENDPOINT={running.url} hf download {NAME}"
    ]


def test_a_folder_that_is_not_there() -> None:
    with pytest.raises(EnginescopeError, match="there is no such folder"):
        subject("./none", hub_settings({}))


def test_a_users_own_folder_is_never_asked_for(running: LocalHub, settings: HubSettings, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "config.json").write_bytes(sharded_model()["config.json"])
    of = subject(str(own), settings)
    assert (of.is_complete, getting(of, settings), running.asked) == (False, [], [])


@needs_vllm
@pytest.mark.parametrize(
    ("environ", "cache"),
    [
        ({"HF_HUB_CACHE": "/a", "HUGGINGFACE_HUB_CACHE": "/b", "HF_HOME": "/c"}, "/a"),
        ({"HUGGINGFACE_HUB_CACHE": "/b", "HF_HOME": "/c"}, "/b"),
        ({"HF_HOME": "/c", "XDG_CACHE_HOME": "/d"}, "/c/hub"),
        ({"XDG_CACHE_HOME": "/d"}, "/d/huggingface/hub"),
    ],
)
def test_caches_in_the_order_of_the_hubs_own_library(environ: dict[str, str], cache: str) -> None:
    code = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60)
    assert str(hub_settings(environ).cache) == done.stdout.strip() == cache


@needs_vllm
def test_a_token_is_said_to_be_there_and_not_shown(tmp_path: Path) -> None:
    token = "hf_abcdefghijklmnop"
    settings = hub_settings({"HF_TOKEN": token, "HF_ENDPOINT": "https://ann:secret@mirror.example", "HF_HOME": "/c"})
    said = hub(settings).detail
    assert "a token" in said and token not in said and "secret" not in said
    assert "HF_HOME=/c" in said
    of = subject("ann/none", replace(settings, endpoint="http://ann:secret@127.0.0.1:9"))
    assert of.hub.why.startswith("http://***@127.0.0.1:9 does not answer")
    assert getting(of, settings) == ["hf download ann/none"]  # with the mirror that is set where it is pasted
    (tmp_path / "token").write_text(token)
    assert hub_settings({"HF_HOME": str(tmp_path)}).has_token
    assert not hub_settings({"HF_HOME": str(tmp_path / "none")}).has_token
    assert model_places("ann/none", settings) == []
