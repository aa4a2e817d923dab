"""From words on the command line to environments: versions, interpreters, folders with vLLM in them."""

from __future__ import annotations

import inspect
import json
import os
import platform
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offline.environments import look
from offline.environments.building import version_python
from offline.environments.environment import Environment, normalized
from offline.environments.packages import python_path
from probes.errors import EnginescopeError, usage_error
from probes.privacy.home import tilde
from tracing.source.tree import SourceTree

INSTALLED = "installed"
LOOK_LIMIT_S = 120
VERSION = re.compile(r"\d+(\.\w+)+(\+\w+)?")
UNTELLING = ("vllm", ".venv", "venv", "env")  # names of folders that many have
OLDEST = "is it a Python, 3.11 or newer?"


@dataclass(frozen=True)
class Choice:
    """What a word stands for: an interpreter, and a folder that stands before its packages, or none."""

    word: str
    python: str
    folder: str = ""


def environments(words: Sequence[str]) -> dict[str, Environment]:
    """The environments that words ask for, by label: vLLM's version, and a name where two have the same.

    | word                     | what it is                                             |
    | ------------------------ | ------------------------------------------------------ |
    | `0.31.0`                 | one in the cache with that vLLM, built on first use    |
    | `installed`              | the environment that this command runs in              |
    | `/path/to/checkout`      | the same with this `vllm` before the installed one     |
    | `/path/.venv/bin/python` | another environment that has vLLM                      |
    """
    choices = [choice(word) for word in words]
    every = [look_into(each.python, each.folder) for each in choices]
    counts = Counter(each.vllm for each in every)
    labels = [_label(one, each.vllm, counts[each.vllm]) for one, each in zip(choices, every, strict=True)]
    if len(set(labels)) < len(labels):
        label = Counter(labels).most_common(1)[0][0]
        raise usage_error(f"--vllm names {label} twice: {', '.join(words)}")
    return dict(zip(labels, every, strict=True))


def choice(word: str) -> Choice:
    """What one word stands for; bad usage where that is nothing."""
    path = Path(word).expanduser().absolute()  # not resolved: the link to an interpreter says which environment it is
    if word == INSTALLED or (VERSION.fullmatch(word) and word == SourceTree.find().version):
        return Choice(INSTALLED, sys.executable)
    if path.is_dir():
        root = SourceTree.find(path).root
        return Choice(word, sys.executable, str(root.parent))
    if path.is_file() and os.access(path, os.X_OK):
        return Choice(word, str(path))
    if VERSION.fullmatch(word):
        return Choice(word, str(version_python(word)))
    raise usage_error(f"--vllm {word}: neither a version, a folder with a vllm package, a Python, nor `{INSTALLED}`")


def _label(choice: Choice, version: str, count: int) -> str:
    """`0.32.0`, or `0.32.0@slow` where several environments have that version."""
    if count == 1 or choice.word == INSTALLED:
        return version
    path = Path(choice.folder) if choice.folder else Path(choice.python).parents[1]
    return f"{version}@{next((part for part in reversed(path.parts) if part not in UNTELLING), path.name)}"


def look_into(python: str, folder: str = "") -> Environment:
    """What the interpreter `python` has, `folder` before its packages; `EnginescopeError` where an engine lacks any."""
    answer = _answer(python, folder)
    if answer["missing"]:
        names = " ".join(answer["missing"])
        raise EnginescopeError(f"{python} has no {names}: install it there ({python} -m pip install {names})")
    source = Path(answer["vllm"]).resolve().parent
    if folder and source.parent != Path(folder).resolve():
        raise EnginescopeError(f"{python} takes vllm from {source} and not from {folder}: is another one in its way?")
    versions = {normalized(name): version for name, version in answer["versions"].items()}
    return Environment(
        python=tilde(python),
        source=tilde(str(source)),
        vllm=SourceTree.find(source).version,
        versions={"python": answer["python"], **dict(sorted(versions.items()))},
        folder=tilde(folder),
    )


def refuse_unrecorded(environments: Mapping[str, Environment]) -> None:
    """Refuse to record engines of another Python than the one that our recorder, which is compiled, was built for."""
    ours = platform.python_version().split(".")[:2]
    for label, each in environments.items():
        if each.version("python").split(".")[:2] != ours:
            raise usage_error(
                f"--trace: the recorder was built for Python {'.'.join(ours)}, and the environment {label} has "
                f"{each.version('python')}: leave --trace out, or run the sweep from a Python of that version"
            )


def environment_changes(before: Mapping[str, Environment]) -> list[str]:
    """What is no longer as it was in some environments, by their labels: `torch of 0.31.0: '2.12' and '2.13'`."""
    changes = []
    for label, old in before.items():
        new = look_into(str(old.executable), old.first_folder)
        names = [name for name in {"vllm", *old.versions, *new.versions} if old.version(name) != new.version(name)]
        changes += [f"{name} of {label}: {old.version(name)!r} and {new.version(name)!r}" for name in sorted(names)]
    return changes


def _answer(python: str, folder: str) -> dict[str, Any]:
    words = [python, "-P", "-c", f"{inspect.getsource(look)}\nsay()\n"]
    variables = {**os.environ, "PYTHONPATH": python_path(folder)}
    try:
        result = subprocess.run(words, capture_output=True, text=True, timeout=LOOK_LIMIT_S, env=variables)
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise usage_error(f"--vllm {python} does not say what it has: {OLDEST} ({type(error).__name__})") from None
