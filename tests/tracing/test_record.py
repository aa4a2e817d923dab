"""What `tracing.record` says of commands that start no engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.engine.recording import LIMIT_S, ROOT, record


def test_a_command_without_an_engine_is_told(tmp_path: Path) -> None:
    done = record(tmp_path / "trace", sys.executable, "-c", "print('hello')")
    assert done.returncode == 1 and "hello" in done.stdout
    assert "no process of the command loaded enginescope" in done.stderr.splitlines()[0]


def test_where_no_tool_listens_it_is_told(tmp_path: Path) -> None:
    done = record(tmp_path / "trace", sys.executable, "-c", "print('hello')", options=("--nvtx",))
    assert done.stderr.startswith("--nvtx: no tool listens here (NVTX_INJECTION64_PATH is not set)")


def test_a_shadowed_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "tracing").mkdir()
    (tmp_path / "tracing" / "__init__.py").touch()
    script = tmp_path / "script.py"
    script.write_text("print('no engine either')")
    done = record(tmp_path / "trace", sys.executable, str(script))
    assert done.returncode == 1
    assert f"its package tracing is shadowed by {tmp_path}" in " ".join(done.stderr.split())


def test_a_chosen_plugin_list_is_lengthened(tmp_path: Path) -> None:
    show = "import os; print(os.environ['VLLM_PLUGINS'])"
    environment = os.environ | {"VLLM_PLUGINS": "lora_filesystem_resolver"}
    command = [
        sys.executable,
        "-m",
        "tracing.record",
        "--out",
        str(tmp_path / "trace"),
        "--",
        sys.executable,
        "-c",
        show,
    ]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.stdout == "lora_filesystem_resolver,enginescope\n"
