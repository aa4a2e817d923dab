"""An environment for another version of vLLM, in the cache: what is installed here, with that vLLM's own pins."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from packaging.requirements import Requirement

from offline.environments.environment import normalized
from offline.environments.look import NEEDED
from probes.checkpoint import cache_folder
from probes.errors import EnginescopeError
from tracing.source.tree import DISTRIBUTIONS

TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
TRIAL = "from vllm import LLM"  # what an environment can do that is whole
LOG_TAIL_LINES = 5
ROUNDS = 4  # of installs: a package of another version may require another version of a third


def version_python(version: str) -> Path:
    """The interpreter of the environment with vLLM `version`; built on first use, which takes minutes and gigabytes."""
    own = installed_vllm()
    pinned = installed(own)
    mark = hashlib.sha256("\n".join([platform.python_version(), own, *lines(pinned)]).encode()).hexdigest()[:8]
    folder = cache_folder() / "environments" / f"{own}-{version}-{mark}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent) as lock:
        if not folder.is_dir():
            print(f"building an environment with {own} {version} (some minutes) ...", file=sys.stderr, flush=True)
            build(folder, f"{own}=={version}", own, pinned, lock)
    return folder / "bin" / "python"


def installed_vllm() -> str:
    """The name of the distribution of vLLM that is installed here."""
    for name in reversed(DISTRIBUTIONS):
        if _distribution(name):
            return name
    raise EnginescopeError("vLLM is not installed here, so that no set for another version is known")


def installed(vllm: str) -> dict[str, str]:
    """What is installed here of all that the distribution `vllm` and our part of an engine's process require.

    Versions by normalized name; vLLM itself is left out.
    """
    versions: dict[str, str] = {}
    waiting = [Requirement(vllm), *map(Requirement, NEEDED)]
    done = set()
    while waiting:
        one = waiting.pop()
        key = (normalized(one.name), *sorted(one.extras))
        if key in done or not (distribution := _distribution(one.name)):
            continue
        done.add(key)
        versions[key[0]] = distribution.version
        waiting += _needed(distribution.requires or [], one.extras)
    return {name: version for name, version in sorted(versions.items()) if name not in DISTRIBUTIONS}


def _distribution(name: str) -> importlib.metadata.Distribution | None:
    return next(iter(importlib.metadata.distributions(name=name)), None)


def lines(pinned: Mapping[str, str]) -> list[str]:
    """`torch==2.13.0+cpu`, a line a package."""
    return [f"{name}=={version}" for name, version in pinned.items()]


def pins(pinned: Mapping[str, str], theirs: Sequence[str], ours: Sequence[str]) -> list[str]:
    """What is installed for a vLLM that requires `theirs`, where the installed one requires `ours`, in lines for pip.

    The installed version of a package stays where it fits; what `ours` requires and is not installed is not needed.

    | pinned                    | theirs                  | ours             | pins                   |
    | ------------------------- | ----------------------- | ---------------- | ---------------------- |
    | `{"numpy": "2.1"}`        | `["numpy"]`             | `["numpy"]`      | `["numpy==2.1"]`       |
    | `{"transformers": "5.9"}` | `["transformers<5.8"]`  | `[]`             | `["transformers<5.8"]` |
    | `{}`                      | `["torchaudio", "new"]` | `["torchaudio"]` | `["new"]`              |
    """
    known = {normalized(each.name) for each in _needed(ours)}
    lines_by_name = dict(zip(pinned, lines(pinned), strict=True))
    for each in _needed(theirs):
        name = normalized(each.name)
        fits = name in pinned and each.specifier.contains(pinned[name], prereleases=True)
        if not fits and (name in pinned or name not in known):
            lines_by_name[name] = f"{each.name}{each.specifier}"
    return list(lines_by_name.values())


def _needed(texts: Sequence[str], extras: Collection[str] = ()) -> Iterator[Requirement]:
    """The requirements that hold on this machine, with those of some extras."""
    for each in map(Requirement, texts):
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield each


def build(folder: Path, vllm: str, own: str, pinned: Mapping[str, str], lock: IO[str]) -> None:
    """Build an environment beside `folder`, see that vLLM can be imported there, and only then give it its name."""
    draft, log = folder.with_name(f".{folder.name}"), folder.with_name(f"{folder.name}.log")
    shutil.rmtree(draft, ignore_errors=True)  # of a build that was killed
    log.unlink(missing_ok=True)
    try:
        _call(log, lock, sys.executable, "-m", "venv", str(draft))
        _install(draft, log, lock, vllm)
        requirements, ours = draft / "requirements.txt", _own_requires(own)
        wanted = pins(pinned, [text for each in _distributions(draft, own) for text in each.requires or []], ours)
        for _ in range(ROUNDS):
            requirements.write_text("\n".join(wanted))
            _install(draft, log, lock, "-r", str(requirements))
            if not (wanted := _unmet(draft, pinned, ours)):
                break
        _call(log, lock, str(draft / "bin" / "python"), "-P", "-c", TRIAL)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _own_requires(name: str) -> list[str]:
    return importlib.metadata.distribution(name).requires or []


def _unmet(environment: Path, pinned: Mapping[str, str], ours: Sequence[str]) -> list[str]:
    """What the packages that are not the pinned ones require of others and do not have, in lines for pip."""
    every = {normalized(each.metadata["Name"]): each for each in _distributions(environment)}
    there = {name: each.version for name, each in every.items()}
    others = [each for name, each in every.items() if there[name] != pinned.get(name)]
    wanted = pins(there, [text for each in others for text in each.requires or []], ours)
    return [line for line in wanted if line not in lines(there)]


def _distributions(environment: Path, name: str | None = None) -> Iterator[importlib.metadata.Distribution]:
    """The distributions of another environment: of a name, or all."""
    folders = [str(path) for path in environment.glob("lib/python*/site-packages")]
    yield from importlib.metadata.distributions(name=name, path=folders)


def _install(environment: Path, log: Path, lock: IO[str], *words: str) -> None:
    """Install without dependencies: by uv where it is there and succeeds, since it does not read pip's settings."""
    python, uv = str(environment / "bin" / "python"), shutil.which("uv")
    pip = [python, "-m", "pip", "install", "--no-deps", "--no-input"]
    if uv and _code(log, lock, uv, "pip", "install", "--python", python, "--no-deps", *words) == 0:
        return
    if _code(log, lock, *pip, *words) == 0:
        return
    if "No matching distribution found for torch==" in log.read_text(errors="replace"):
        pip += ["--extra-index-url", TORCH_CPU_INDEX]
    _call(log, lock, *pip, *words)


def _call(log: Path, lock: IO[str], *words: str) -> None:
    if _code(log, lock, *words) != 0:
        tail = " / ".join(log.read_text(errors="replace").strip().splitlines()[-LOG_TAIL_LINES:])
        raise EnginescopeError(f"the environment could not be built; all of it is in {log}: {tail}")


def _code(log: Path, lock: IO[str], *words: str) -> int:
    # The child keeps the lock: were this program killed outright, the next one still waits for pip to end.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with log.open("a") as out:
        return subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=variables, pass_fds=(lock.fileno(),)
        ).returncode


@contextmanager
def locked(folder: Path) -> Iterator[IO[str]]:
    """Hold the lock of a folder of environments; a second builder waits here."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
