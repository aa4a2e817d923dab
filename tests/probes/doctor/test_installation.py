"""The doctor's checks of enginescope itself: its plugin, what hides it, and its recorder."""

from __future__ import annotations

import importlib.machinery
import os
from pathlib import Path
from typing import Any

import pytest

from probes.doctor import installation
from tests.probes.doctor.machines import NOW, machine, unlike


@pytest.mark.parametrize(
    ("plugins", "environ", "status", "detail", "remedy"),
    [
        ({"enginescope": "enginescope_plugin:load"}, {}, "ok", "enginescope = enginescope_plugin:load", None),
        ({}, {}, "block", "not installed", "pip install --no-deps -e ."),
        ({"enginescope": "old.place:load"}, {}, "block", "is old.place:load", "pip install --no-deps -e ."),
        (
            None,
            {"VLLM_PLUGINS": "lora,other"},
            "warn",
            "leaves enginescope out",
            "VLLM_PLUGINS='lora,other,enginescope'",
        ),
        (None, {"VLLM_PLUGINS": ""}, "warn", "leaves enginescope out", "export VLLM_PLUGINS='enginescope'"),
        (None, {"VLLM_PLUGINS": "enginescope"}, "ok", "enginescope", None),
    ],
)
def test_plugin(plugins: Any, environ: Any, status: str, detail: str, remedy: str | None, tmp_path: Path) -> None:
    fields = {"environ": environ} | ({} if plugins is None else {"plugins": plugins})
    assert not unlike(installation.plugin(machine(tmp_path, **fields)), status, detail, remedy)


def test_names_hidden_by_the_current_folder(tmp_path: Path) -> None:
    files = {"site/tracing/__init__.py": "", "site/vllm/__init__.py": "", "work/notes/todo.md": ""}
    at = machine(tmp_path, files, search_path=(str(tmp_path / "work"), str(tmp_path / "site")))
    assert not unlike(installation.shadows(at), "ok", "nothing", None)
    machine(tmp_path, {"work/tracing.py": "", "work/vllm/__init__.py": ""})
    importlib.invalidate_caches()
    assert not unlike(installation.shadows(at), "block", "tracing, vllm in the current folder", "cd ..")


def test_the_checkout_hides_nothing_from_itself(tmp_path: Path) -> None:
    at = machine(tmp_path, {"work/tracing/__init__.py": ""}, search_path=("", str(tmp_path / "work")))
    assert not unlike(installation.shadows(at), "ok", "nothing", None)


def test_recorder(tmp_path: Path) -> None:
    at = machine(tmp_path, {"site/tracing/__init__.py": ""})
    assert not unlike(installation.recorder(at), "block", "not built", "pip install --no-deps -e .")
    built = f"site/tracing/hooks/_recorder{importlib.machinery.EXTENSION_SUFFIXES[0]}"
    machine(tmp_path, {built: "no library", "site/tracing/hooks/_recorder.c": ""})
    importlib.invalidate_caches()
    os.utime(tmp_path / built, (NOW + 9, NOW + 9))
    os.utime(tmp_path / "site/tracing/hooks/_recorder.c", (NOW, NOW))
    assert not unlike(installation.recorder(at), "block", "does not load: ImportError", "pip install")
    os.utime(tmp_path / built, (NOW - 9, NOW - 9))
    assert not unlike(installation.recorder(at), "warn", "older than its source", "pip install")
