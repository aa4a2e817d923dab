"""An environment for another version: what is installed there, and that there is never half of one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pytest

from offline.environments import building
from offline.environments.building import build, locked, pins, version_python
from probes.errors import EnginescopeError
from tests.needs import needs_vllm


@pytest.mark.parametrize(
    ("pinned", "theirs", "ours", "expected"),
    [
        ({"numpy": "2.1"}, ["numpy"], ["numpy"], ["numpy==2.1"]),
        ({"numpy": "2.1"}, ["NumPy>=2; python_version > '3'"], [], ["numpy==2.1"]),
        ({"transformers": "5.9", "rich": "15"}, ["transformers<5.8,>=5"], [], ["transformers<5.8,>=5", "rich==15"]),
        ({"torch": "2.13.0+cpu"}, ["torch==2.13.0+cpu"], [], ["torch==2.13.0+cpu"]),
        ({}, ["torchaudio", "new_one"], ["torchaudio"], ["new_one"]),
        ({}, ["zen; extra == 'zen'", "mac; platform_system == 'Darwin'"], [], []),
    ],
)
def test_installed_versions_stay_where_the_other_vllm_takes_them(
    pinned: dict[str, str], theirs: list[str], ours: list[str], expected: list[str]
) -> None:
    assert sorted(pins(pinned, theirs, ours)) == sorted(expected)


# What the fake index has: the version that answers a line, and what that requires.
INDEX = {
    "vllm==1.0": ("1.0", "hub\nRequires-Dist: models<5"),
    "models<5": ("4.9", "hub<2"),
    "hub==2.4": ("2.4", ""),
    "hub<2": ("1.9", "rich"),
    "rich==15": ("15", ""),
}


class Commands:
    """In the place of pip: installs metadata from `INDEX`, and fails where it is told to."""

    def __init__(self, failing: str = "") -> None:
        self.failing, self.installs = failing, list[list[str]]()

    def __call__(self, log: Path, lock: IO[str], *words: str) -> int:
        log.open("a").write("its last words\n")
        if self.failing in words:
            return 1
        if "venv" in words:
            (Path(words[-1]) / "lib" / "python3" / "site-packages").mkdir(parents=True)
        elif "pip" in words:
            lines = Path(words[-1]).read_text().split() if words[-2] == "-r" else [words[-1]]
            self.installs.append(lines)
            for line in lines:
                install(Path(words[0]).parents[1] / "lib" / "python3" / "site-packages", line)
        return 0


def install(packages: Path, line: str) -> None:
    """Write the metadata of what answers a line."""
    name, (version, requires) = re.split("[=<]", line)[0], INDEX[line]
    for old in packages.glob(f"{name}-*"):
        shutil.rmtree(old)
    info = packages / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Name: {name}\nVersion: {version}\n" + (f"Requires-Dist: {requires}\n" if requires else "")
    )


def build_with(commands: Commands, folder: Path, monkeypatch: pytest.MonkeyPatch, own: Sequence[str] = ()) -> None:
    monkeypatch.setattr(building, "_code", commands)
    monkeypatch.setattr(building, "_own_requires", lambda name: list(own))
    monkeypatch.setattr(building.shutil, "which", lambda name: None)
    with locked(folder.parent) as lock:
        build(folder, "vllm==1.0", "vllm", {"models": "5.1", "hub": "2.4", "rich": "15"}, lock)


def test_a_build_takes_its_name_once_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = Commands()
    build_with(commands, tmp_path / "vllm-1.0", monkeypatch)
    assert commands.installs == [
        ["vllm==1.0"],
        ["models<5", "hub==2.4", "rich==15"],
        ["hub<2"],  # which the other version of `models` requires
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "vllm-1.0", "vllm-1.0.log"]


@pytest.mark.parametrize("failing", ["venv", "vllm==1.0", "-r", "from vllm import LLM"])
def test_a_build_that_fails_leaves_its_log_alone(failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".vllm-1.0").mkdir()  # of a build that was killed
    with pytest.raises(EnginescopeError, match=r"vllm-1\.0\.log: its last words"):
        build_with(Commands(failing), tmp_path / "vllm-1.0", monkeypatch)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "vllm-1.0.log"]


@needs_vllm
def test_an_environment_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds: list[Path] = []

    def record(folder: Path, *_: object) -> None:
        folder.mkdir()
        builds.append(folder)

    monkeypatch.setenv("ENGINESCOPE_CACHE", str(tmp_path))
    monkeypatch.setattr(building, "build", record)
    first, second = version_python("1.0"), version_python("1.0")
    assert first == second == builds[0] / "bin" / "python" and len(builds) == 1
    assert version_python("1.1") != first and len(builds) == 2
