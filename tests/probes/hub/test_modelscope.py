"""A model on ModelScope: a hub of our own that speaks its protocol, the layouts of its cache, and its own client."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from probes.doctor.model import findings
from probes.doctor.model.findings import files, hub, hub_client
from probes.doctor.model.subject import getting, subject
from probes.doctor.surroundings import Distribution
from probes.hub.hubmodel import HubModel
from probes.hub.settings import HubSettings, hub_settings
from tests.probes.doctor.machines import CUDA_SET, machine
from tests.probes.hub.localhub import LocalHub, Reply, local_hub, modelscope
from tests.probes.shardedmodel import SHARDS, laid, sharded_model

NAME = "ann/small-0.5B"
CLOSED = "ann/closed"
needs_client = pytest.mark.skipif(find_spec("modelscope_hub") is None, reason="modelscope is not installed")
CLIENT = """#!/bin/sh
exec {python} -c 'from modelscope_hub.cli.main import run_cmd; run_cmd()' "$@"
"""


@pytest.fixture
def running() -> Iterator[LocalHub]:
    models = {NAME: sharded_model(), CLOSED: sharded_model()}
    with local_hub(LocalHub(models, gated={CLOSED}), modelscope) as served:
        yield served


@pytest.fixture
def settings(running: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubSettings:
    monkeypatch.delenv("MODELSCOPE_API_TOKEN", raising=False)
    return asked({"MODELSCOPE_ENDPOINT": running.url}, tmp_path)


def asked(environ: dict[str, str], folder: Path) -> HubSettings:
    cache, home = str(folder / "cache"), str(folder / "home")
    return hub_settings({"VLLM_USE_MODELSCOPE": "True", "MODELSCOPE_CACHE": cache, "MODELSCOPE_HOME": home, **environ})


def test_a_model_that_is_not_here_is_known_by_the_hub(
    running: LocalHub, settings: HubSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = subject(NAME, settings)
    assert (of.is_complete, of.folder, of.loaded_bytes, of.config.heads) == (False, None, 6000, 4)
    assert getting(of, settings) == [f"MODELSCOPE_ENDPOINT={running.url} modelscope download --model {NAME}"]
    monkeypatch.setattr(findings, "free_bytes", lambda cache: {settings.modelscope_cache: 2**30}[cache])
    assert files(of, settings).detail == "not here; 0 of 2 weight files whole; 0.0 MiB to fetch, 1.00 GiB free there"
    monkeypatch.setattr(findings, "free_bytes", lambda _: 6000)
    assert "too little room, set MODELSCOPE_CACHE" in files(of, settings).detail
    assert not settings.modelscope_cache.exists()


def test_gated_unknown_silent_and_offline(running: LocalHub, settings: HubSettings, tmp_path: Path) -> None:
    gated = subject(CLOSED, settings)
    assert gated.hub.state == "gated" and getting(gated, settings)[0].startswith("modelscope login ")
    unknown = files(subject("ann/none", settings), settings).detail
    assert unknown == f"not here, and {running.url} has no such model, or it is private: check the name"
    silent = subject(NAME, asked({"MODELSCOPE_ENDPOINT": "127.0.0.1:9"}, tmp_path))
    assert silent.hub.why == "https://127.0.0.1:9 does not answer (URLError)"
    running.asked.clear()
    offline = subject(NAME, asked({"MODELSCOPE_ENDPOINT": running.url, "HF_HUB_OFFLINE": "1"}, tmp_path))
    assert (offline.hub.why, running.asked) == ("HF_HUB_OFFLINE is set", [])


def test_a_list_that_came_is_kept_where_a_file_is_refused(tmp_path: Path) -> None:
    def half(status: int) -> HubModel:
        def speak(hub: LocalHub, address: str) -> Reply:
            return modelscope(hub, address) if "repo/files" in address else (status, {}, b"{}")

        with local_hub(LocalHub({NAME: sharded_model()}), speak) as other:
            return subject(NAME, asked({"MODELSCOPE_ENDPOINT": other.url}, tmp_path)).hub

    for status, state in ((403, "gated"), (404, "there"), (500, "there")):
        answer = half(status)
        assert (answer.state, answer.sizes[SHARDS[0]]) == (state, len(sharded_model()[SHARDS[0]]))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"Data": {"Files": "none"}}'])
def test_another_server_is_not_taken_for_it(tmp_path: Path, body: bytes) -> None:
    with local_hub(LocalHub({}), lambda *_: (200, {}, body)) as other:
        of = subject(NAME, asked({"MODELSCOPE_ENDPOINT": other.url}, tmp_path))
        assert of.hub.why == f"{other.url} does not answer as ModelScope does"


@pytest.mark.parametrize(
    "folder",
    [
        "models/ann--small-0.5B/snapshots/master",
        "models/ann/small-0___5B",
        "hub/models/ann/small-0___5B",
        "ann/small-0.5B",
        "hub/ann/small-0___5B",
        "models/ann/small-0.5B",
    ],
)
def test_every_layout_of_its_cache_is_known(running: LocalHub, settings: HubSettings, folder: str) -> None:
    place = laid(settings.modelscope_cache / folder, sharded_model())
    of = subject(NAME, settings)
    assert (of.folder, of.is_complete, running.asked) == (place, True, [])
    assert files(of, settings).detail == f"{place}: 2 weight files, all whole"


def test_a_shard_is_missing_or_cut_off(settings: HubSettings) -> None:
    whole = sharded_model()
    rest = {name: body for name, body in whole.items() if name != SHARDS[1]}
    place = laid(settings.modelscope_cache / "models/ann--small-0.5B/snapshots/master", rest)
    assert f"1 of 2 weight files whole: {SHARDS[1]} is missing" in files(subject(NAME, settings), settings).detail
    (place / SHARDS[1]).write_bytes(whole[SHARDS[1]][:3000])
    assert f"{SHARDS[1]} is cut off at 3,000" in files(subject(NAME, settings), settings).detail


def test_a_token_is_sent_and_not_shown(running: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-abcdef0123456789")
    settings = asked({"MODELSCOPE_ENDPOINT": running.url, "MODELSCOPE_API_TOKEN": "ms-abcdef0123456789"}, tmp_path)
    subject(NAME, settings)
    assert {token for _, token in running.asked} == {"Bearer ms-abcdef0123456789"}
    detail = hub(settings).detail
    assert detail.startswith(f"ModelScope ({running.url}), a token, cache ") and "ms-abc" not in detail


@pytest.mark.parametrize(
    ("environ", "address", "cache"),
    [
        ({}, "https://modelscope.cn", "~/.cache/modelscope"),
        ({"MODELSCOPE_DOMAIN": "modelscope.ai", "MODELSCOPE_CACHE": "/m"}, "https://modelscope.ai", "/m"),
        ({"MODELSCOPE_DOMAIN": "a.b", "MODELSCOPE_ENDPOINT": "http://c.d/"}, "http://c.d", "~/.cache/modelscope"),
    ],
)
def test_its_settings(environ: dict[str, str], address: str, cache: str) -> None:
    settings = hub_settings(environ)
    assert (settings.modelscope, settings.modelscope_cache) == (address, Path(cache).expanduser())


@pytest.mark.parametrize(("value", "taken"), [("True", True), (" 1 ", True), ("yes", False), ("0", False), ("", False)])
def test_the_variable_is_read_as_vllm_reads_it(value: str, taken: bool) -> None:
    assert hub_settings({"VLLM_USE_MODELSCOPE": value}).uses_modelscope is taken


def test_vllm_needs_its_client(settings: HubSettings, tmp_path: Path) -> None:
    [missing] = hub_client(settings, machine(tmp_path, distributions=CUDA_SET))
    assert (missing.status, missing.remedy) == ("block", "pip install 'modelscope>=1.18.1'")
    there = machine(tmp_path, distributions=CUDA_SET | {"modelscope": Distribution("1.40.2")})
    assert not list(hub_client(settings, there)) and not list(hub_client(hub_settings({}), there))


@needs_client
@pytest.mark.parametrize("damage", ["all is missing", "a shard is missing", "cut off", "cut off in an older layout"])
def test_the_lines_mend_it_by_its_own_client(settings: HubSettings, tmp_path: Path, damage: str) -> None:
    whole = sharded_model()
    layout = "models/ann/small-0___5B" if "older" in damage else "models/ann--small-0.5B/snapshots/master"
    rest = {name: body for name, body in whole.items() if name != SHARDS[1]}
    if damage != "all is missing":
        laid(settings.modelscope_cache / layout, rest | ({SHARDS[1]: whole[SHARDS[1]][:99]} if "cut" in damage else {}))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/modelscope").write_text(CLIENT.format(python=sys.executable))
    (tmp_path / "bin/modelscope").chmod(0o755)
    environ = {
        "PATH": f"{tmp_path / 'bin'}:{os.defpath}",
        "HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    environ |= {"MODELSCOPE_CACHE": str(settings.modelscope_cache)}
    lines = "\n".join(getting(subject(NAME, settings), settings))
    done = subprocess.run(["bash", "-ec", lines], env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    of = subject(NAME, settings)
    assert of.is_complete and of.folder == settings.modelscope_cache / layout
