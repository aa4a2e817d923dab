"""Where the embedded model lies, and how a damaged one is noticed; nothing is unpacked here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from probes import checkpoint
from probes.checkpoint import GGUF_SHA256, MANIFEST, cache_folder
from probes.errors import EnginescopeError


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"ENGINESCOPE_CACHE": "/big/models", "XDG_CACHE_HOME": "/x"}, "/big/models"),
        ({"ENGINESCOPE_CACHE": "~/models"}, "/home/ann/models"),
        ({"ENGINESCOPE_CACHE": "", "XDG_CACHE_HOME": "/x"}, "/x/enginescope"),
        ({"XDG_CACHE_HOME": ""}, "/home/ann/.cache/enginescope"),
        ({}, "/home/ann/.cache/enginescope"),
    ],
)
def test_cache_folder(variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENGINESCOPE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (variables | {"HOME": "/home/ann"}).items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with two files and the manifest of their digests."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(bytes(1000))
    checkpoint._write_manifest(tmp_path)
    return tmp_path


def test_a_manifest_names_every_file(model: Path) -> None:
    assert checkpoint._damage(model) is None
    assert json.loads((model / MANIFEST).read_text()) == {
        "schema": 1,
        "source": GGUF_SHA256,
        "files": {
            "config.json": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "model.safetensors": "541b3e9daa09b20bf85fa273e5cbd3e80185aa4ec298e765db87742b70138a53",
        },
    }


@pytest.mark.parametrize("place", [0, 500, 999])
def test_one_changed_byte_is_damage(model: Path, place: int) -> None:
    data = bytearray(1000)
    data[place] = 1
    (model / "model.safetensors").write_bytes(data)
    assert checkpoint._damage(model) == "model.safetensors is damaged"


def test_a_file_that_is_short_or_gone_is_damage(model: Path) -> None:
    (model / "model.safetensors").write_bytes(bytes(999))
    assert checkpoint._damage(model) == "model.safetensors is damaged"
    (model / "model.safetensors").write_bytes(bytes(1000))
    assert checkpoint._damage(model) is None
    (model / "config.json").unlink()
    assert checkpoint._damage(model) == "config.json is damaged"


@pytest.mark.parametrize("manifest", [b"", b"{", b"[]", b"{}", b'{"files": 7}', b'{"files": "text"}', b"\xff"])
def test_without_a_manifest_nothing_is_trusted(model: Path, manifest: bytes) -> None:
    (model / MANIFEST).write_bytes(manifest)
    assert checkpoint._damage(model) == "no readable manifest"
    (model / MANIFEST).unlink()
    assert checkpoint._damage(model) == "no readable manifest"


class Build:
    """Writes a model of one file, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, folder: Path, quiet: bool) -> None:
        self.times += 1
        (folder / "config.json").write_text(str(self.times))


def test_a_model_is_unpacked_once_and_again_when_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENGINESCOPE_CACHE", str(tmp_path / "cache"))
    build = Build()
    folder = checkpoint._cached("tiny", build, True)
    assert folder == tmp_path / "cache" / "tiny-b179c952"
    assert (checkpoint._cached("tiny", build, True), build.times) == (folder, 1)
    (folder / "config.json").write_text("damaged")
    assert (checkpoint._cached("tiny", build, True), build.times) == (folder, 2)
    assert capsys.readouterr().err == "tiny-b179c952: config.json is damaged; unpacking it again\n"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_model_that_could_not_be_unpacked_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINESCOPE_CACHE", str(tmp_path / "cache"))

    def fail(folder: Path, quiet: bool) -> Any:
        (folder / "half").write_text("of it")
        raise EnginescopeError("no source")

    with pytest.raises(EnginescopeError, match="no source"):
        checkpoint._cached("tiny", fail, True)
    assert list((tmp_path / "cache").iterdir()) == []
