"""Every command answers `--help` quickly, without the engine, and with an example."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("probes", "tracing", "offline", "notes")
HEAVY = ("vllm", "torch", "transformers")
LIMIT_S = 0.5
TRIES = 3

# Runs the command as `python -m` does; then one line on stderr says what that took. The processor time is the process's
# own, the start of Python included: the wall clock would also count whatever else the machine is doing.
PROBE = """
import json, runpy, sys, time
name, heavy = sys.argv[1], sys.argv[2:]
sys.argv = [name, "--help"]
code = None
try:
    runpy.run_module(name, run_name="__main__", alter_sys=True)
except SystemExit as end:
    code = end.code
loaded = [module for module in heavy if module in sys.modules]
print(json.dumps({"code": code, "cpu_s": time.process_time(), "heavy": loaded}), file=sys.stderr)
"""


def is_command(source: str) -> bool:
    """Whether a module has an `if __name__ == "__main__"` block."""
    tests = [node.test for node in ast.parse(source).body if isinstance(node, ast.If)]
    return any(ast.unparse(test) == "__name__ == '__main__'" for test in tests)


def commands() -> list[str]:
    """All commands as `room.module` or, of a package with a `__main__`, `room.package`."""
    paths = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")) if is_command(path.read_text())]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__") for path in paths]


def ask_for_help(command: str) -> tuple[str, dict[str, Any]]:
    """The help text and what it took."""
    result = subprocess.run(
        [sys.executable, "-c", PROBE, command, *HEAVY], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    lines = result.stderr.splitlines()
    assert lines, f"{command} --help said nothing of itself"
    return result.stdout, json.loads(lines[-1])


def test_finds_commands() -> None:
    assert "probes.machine" in commands()
    assert is_command('if __name__ == "__main__":\n    main()')
    assert not is_command('"""if __name__ == "__main__" """')


@pytest.mark.parametrize("command", commands())
def test_help(command: str) -> None:
    took = []
    for _ in range(TRIES):
        text, report = ask_for_help(command)
        assert report["code"] in (0, None)
        assert report["heavy"] == []
        assert "example" in text.lower() and "build/" not in text  # a folder that is there while this is built alone
        took.append(report["cpu_s"])
        if took[-1] < LIMIT_S:
            return
    pytest.fail(f"{command} --help took {took} s of processor time, more than {LIMIT_S} s each time")
