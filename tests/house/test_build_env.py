"""The stamp of `.venv` says what was built, so that nothing is built twice and nothing half built is used."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load() -> ModuleType:
    """The script as a module; it is in no package, since the system's Python runs it."""
    spec = importlib.util.spec_from_file_location("build_env", ROOT / "requirements" / "build_env.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build_env = load()


class FakePip:
    """Notes what it is asked to do, and fails or is interrupted where a test says so."""

    calls: list[str]
    no_torch = False
    interrupted_at = ""

    def __init__(self, venv: Path, log: Path, lock: object) -> None:
        pass

    def run(self, *command: str) -> None:
        self._note("venv")

    def try_install(self, *arguments: str) -> bool:
        self._note("packages")
        return not self.no_torch

    def install(self, *arguments: str) -> None:
        self._note("packages from the CPU index" if "--extra-index-url" in arguments else "project")

    def output(self) -> str:
        return "ERROR: No matching distribution found for torch==2.13.0+cpu"

    def _note(self, step: str) -> None:
        if step == self.interrupted_at:
            raise KeyboardInterrupt
        self.calls.append(step)


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> type[FakePip]:
    class Pip(FakePip):
        calls: list[str] = []  # noqa: RUF012 - one list for each test

    monkeypatch.setattr(build_env, "Pip", Pip)
    return Pip


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "tracing" / "hooks").mkdir(parents=True)
    sets = ("requirements/cpu.txt", "requirements/gpu.txt", "requirements/dev.txt")
    for name in (*sets, "pyproject.toml", "tracing/hooks/_recorder.c", "tracing/hooks/_nvtx.h"):
        (tmp_path / name).write_text(name)
    return tmp_path


def bring_up(root: Path, kind: str = "cpu") -> bool:
    return bool(build_env.Environment(root, kind).bring_up())


def test_builds_once(checkout: Path, pip: type[FakePip]) -> None:
    assert bring_up(checkout) is True
    assert bring_up(checkout) is False
    assert pip.calls == ["venv", "packages", "project"]


@pytest.mark.parametrize("name", ["requirements/cpu.txt", "requirements/dev.txt"])
def test_a_changed_set_starts_over(checkout: Path, pip: type[FakePip], name: str) -> None:
    bring_up(checkout)
    (checkout / ".venv" / "old").touch()
    (checkout / name).write_text("other pins")
    bring_up(checkout)
    assert pip.calls == ["venv", "packages", "project"] * 2
    assert not (checkout / ".venv" / "old").exists()


def test_another_python_or_kind_of_machine_starts_over(
    checkout: Path, pip: type[FakePip], monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_up(checkout)
    assert bring_up(checkout, "gpu") is True
    monkeypatch.setattr(build_env.platform, "python_version", lambda: "3.99.0")
    assert bring_up(checkout, "gpu") is True
    assert pip.calls == ["venv", "packages", "project"] * 3


@pytest.mark.parametrize("name", ["pyproject.toml", "tracing/hooks/_recorder.c", "tracing/hooks/_nvtx.h"])
def test_a_changed_project_installs_only_itself(checkout: Path, pip: type[FakePip], name: str) -> None:
    bring_up(checkout)
    (checkout / name).write_text("something else")
    bring_up(checkout)
    assert pip.calls == ["venv", "packages", "project", "project"]


def test_a_moved_checkout_installs_itself_again(checkout: Path, pip: type[FakePip]) -> None:
    bring_up(checkout)
    moved = checkout / "elsewhere"
    moved.mkdir()
    for name in (".venv", "requirements", "tracing", "pyproject.toml"):
        shutil.move(checkout / name, moved / name)
    bring_up(moved)
    assert pip.calls[3:] == ["project"]


@pytest.mark.parametrize(
    ("step", "again"),
    [
        ("venv", ["venv", "packages", "project"]),
        ("packages", ["venv", "packages", "project"]),
        ("project", ["project"]),
    ],
)
def test_an_interrupted_build_is_taken_up(checkout: Path, pip: type[FakePip], step: str, again: list[str]) -> None:
    pip.interrupted_at = step
    with pytest.raises(KeyboardInterrupt):
        bring_up(checkout)
    pip.interrupted_at = ""
    pip.calls.clear()
    assert bring_up(checkout) is True
    assert pip.calls == again


@pytest.mark.parametrize("stamp", ["", "{", "[]", "[1]", '{"packages": "x"}', '"text"'])
def test_a_stamp_that_says_nothing_is_none(checkout: Path, pip: type[FakePip], stamp: str) -> None:
    bring_up(checkout)
    (checkout / ".venv" / "enginescope.json").write_text(stamp)
    bring_up(checkout)
    assert pip.calls == ["venv", "packages", "project"] * 2


def test_asks_the_cpu_index_only_where_the_usual_one_lacks_torch(
    checkout: Path, pip: type[FakePip], capsys: pytest.CaptureFixture[str]
) -> None:
    pip.no_torch = True
    bring_up(checkout)
    assert pip.calls == ["venv", "packages", "packages from the CPU index", "project"]
    assert "no CPU build of torch in the usual index" in capsys.readouterr().out


def test_a_second_builder_waits_and_builds_nothing(
    checkout: Path, pip: type[FakePip], capsys: pytest.CaptureFixture[str]
) -> None:
    answers: list[bool] = []
    second = threading.Thread(target=lambda: answers.append(bring_up(checkout)))
    with build_env.locked(checkout / ".env-lock"):
        second.start()
        second.join(0.3)
        assert second.is_alive() and pip.calls == []
    second.join(10)
    assert answers == [True]
    assert "waiting for another build" in capsys.readouterr().out
    assert bring_up(checkout) is False


def test_a_failure_shows_the_end_of_what_pip_said(checkout: Path) -> None:
    venv = checkout / ".venv"
    venv.mkdir()
    with build_env.locked(checkout / ".env-lock") as lock:
        pip = build_env.Pip(venv, venv / "build.log", lock)
        script = "print('WARNING: Location x is ignored: no folder'); print('no such package'); raise SystemExit(1)"
        with pytest.raises(SystemExit) as end:
            pip.run(sys.executable, "-c", script)
    assert str(end.value).splitlines()[0] == "no such package"
    assert "could not be built" in str(end.value)


def script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("uv", "programs"), [("exit 0", ["uv"]), ("exit 1", ["uv", "python"]), (None, ["python"])], ids=str
)
def test_uv_is_asked_first_and_pip_where_it_fails_or_is_missing(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, uv: str | None, programs: list[str]
) -> None:
    venv = checkout / ".venv"
    (venv / "bin").mkdir(parents=True)
    script(venv / "bin" / "python", "echo python $*")
    if uv:
        script(venv / "bin" / "uv", f"echo uv $*; {uv}")
    monkeypatch.setenv("PATH", f"{venv / 'bin'}:/bin")
    with build_env.locked(checkout / ".env-lock") as lock:
        pip = build_env.Pip(venv, venv / "build.log", lock)
        assert pip.try_install("six==1.17.0")
    lines = pip.output().splitlines()
    assert [line.split()[0] for line in lines] == programs
    assert all("--no-deps" in line and line.endswith("six==1.17.0") for line in lines)


def test_an_old_python_is_one_line() -> None:
    build_env.require_python((3, 11))
    build_env.require_python((3, 12))
    with pytest.raises(SystemExit) as end:
        build_env.require_python((3, 10))
    assert str(end.value).startswith("error: Python 3.10 is too old, enginescope needs 3.11 or newer")
    assert "\n" not in str(end.value)


@pytest.mark.parametrize(("body", "kind"), [("echo 'GPU 0: H200'", "gpu"), ("echo none", "cpu"), ("exit 9", "cpu")])
def test_the_set_follows_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, kind: str) -> None:
    script(tmp_path / "nvidia-smi", body)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build_env.fitting_kind() == kind


@pytest.mark.parametrize(
    ("program", "body", "lines"),
    [
        ("amd-smi", "echo 'GPU: 0'; echo '    BDF: 0000:0c:00.0'", 1),
        ("rocm-smi", "echo 'GPU[0] : Device Name: AMD Instinct MI300X'", 1),
        ("amd-smi", "echo 'GPU: 0'; exit 1", 0),
        ("amd-smi", "echo 'no devices'", 0),
    ],
)
def test_an_amd_gpu_gets_the_cpu_set_with_a_word(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    program: str,
    body: str,
    lines: int,
) -> None:
    script(tmp_path / program, body)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build_env.fitting_kind() == "cpu"
    output = capsys.readouterr().out.splitlines()
    assert len(output) == lines
    assert all("no pinned set for ROCm" in line and "pip install -e .[rocm]" in line for line in output)


def test_no_driver_means_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build_env.fitting_kind() == "cpu"
