"""Builds the environment of a checkout: `.venv`, from the pinned set that fits the machine, once.

A stamp inside `.venv`, written after each finished step, tells what it was built from: a changed pinned set or an
install that was cut short is noticed and done again. Standard library only, for the system's own Python.

Example: python3 requirements/build_env.py
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 11)
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
LOG_TAIL_LINES = 15
SIZES = {"cpu": "3.5 GB", "gpu": "9 GB"}  # on disk
NO_ROCM_SET = (
    "an AMD GPU answers, but there is no pinned set for ROCm: the CPU set is installed; to use the GPU, "
    "install vLLM's ROCm build in an environment of your own and run `pip install -e .[rocm]` there"
)
INTERRUPTED = 130


class Environment:
    """The `.venv` of the checkout at `root`, built from the pinned set `kind` (`cpu` or `gpu`)."""

    def __init__(self, root: Path, kind: str) -> None:
        self.root = root
        self.venv = root / ".venv"
        self.stamp = self.venv / "enginescope.json"
        self.log = self.venv / "build.log"
        self.pinned = root / "requirements" / f"{kind}.txt"
        self.dev = root / "requirements" / "dev.txt"
        self.project = (root / "pyproject.toml", *sorted((root / "tracing" / "hooks").glob("*.[ch]")))

    def wanted(self) -> dict[str, str]:
        """What a finished environment's stamp says: one digest for the packages, one for this checkout itself."""
        project = [path.read_bytes() for path in self.project]
        return {
            "packages": digest(platform.python_version(), self.pinned.read_bytes(), self.dev.read_bytes()),
            "project": digest(str(self.root), *project),  # the editable install names the folder
        }

    def built(self) -> dict[str, str]:
        """What the stamp says; empty where there is none to be read."""
        try:
            values = json.loads(self.stamp.read_text())
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    def bring_up(self) -> bool:
        """Build what is missing or out of date, alone; False where everything stood already."""
        with locked(self.root / ".env-lock") as lock:
            wanted, built = self.wanted(), self.built()
            if built == wanted:
                return False
            pip = Pip(self.venv, self.log, lock)
            if built.get("packages") != wanted["packages"]:
                self.install_packages(pip)
                self.write_stamp({"packages": wanted["packages"]})
            pip.install("--no-build-isolation", "-e", str(self.root))
            self.write_stamp(wanted)
            return True

    def install_packages(self, pip: Pip) -> None:
        """Make `.venv` anew and fill it from the pinned sets."""
        size = SIZES[self.pinned.stem]
        print(f"building .venv from {self.pinned.relative_to(self.root)} ({size}, some minutes) ...", flush=True)
        started = time.monotonic()
        shutil.rmtree(self.venv, ignore_errors=True)
        self.venv.mkdir(exist_ok=True)
        pip.run(sys.executable, "-m", "venv", str(self.venv))
        sets = ("-r", str(self.pinned), "-r", str(self.dev))
        if not pip.try_install(*sets):
            if "No matching distribution found for torch==" not in pip.output():
                pip.fail()
            print(f"no CPU build of torch in the usual index; asking {TORCH_CPU_INDEX} too ...", flush=True)
            pip.install("--extra-index-url", TORCH_CPU_INDEX, *sets)
        print(f"built .venv in {time.monotonic() - started:.0f} s", flush=True)

    def write_stamp(self, done: dict[str, str]) -> None:
        """Write the stamp whole or not at all."""
        draft = self.stamp.with_suffix(".draft")
        draft.write_text(json.dumps(done))
        os.replace(draft, self.stamp)


class Pip:
    """Installs into `venv`, quietly: what is printed goes to `log`, whose end is shown where it fails.

    uv does it where it is on the path; where there is none, or it fails (it does not read pip's settings), pip does.
    """

    def __init__(self, venv: Path, log: Path, lock: IO[str]) -> None:
        self.python = venv / "bin" / "python"
        self.uv = shutil.which("uv")
        self.log = log
        self.lock = lock

    def install(self, *arguments: str) -> None:
        """Install `arguments` without their dependencies; ends the program where it fails."""
        if not self.try_install(*arguments):
            self.fail()

    def try_install(self, *arguments: str) -> bool:
        """Install `arguments` without their dependencies; whether that succeeded."""
        python = str(self.python)
        if self.uv and self._call(self.uv, "pip", "install", "--python", python, "--no-deps", *arguments) == 0:
            return True
        return self._call(python, "-m", "pip", "install", "--no-deps", "--no-input", *arguments) == 0

    def run(self, *command: str) -> None:
        """Run `command` into the log; ends the program where it fails."""
        if self._call(*command) != 0:
            self.fail()

    def output(self) -> str:
        """Everything that the commands printed so far."""
        return self.log.read_text(errors="replace")

    def fail(self) -> None:
        """Show the end of the log and end the program."""
        tail = [line for line in self.output().splitlines() if " is ignored: " not in line][-LOG_TAIL_LINES:]
        raise SystemExit("\n".join([*tail, f"error: .venv could not be built; all of it is in {self.log}"]))

    def _call(self, *command: str) -> int:
        # The child keeps the lock: were this program killed outright, the next one still waits for pip to end.
        with self.log.open("a") as log:
            return subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(self.lock.fileno(),)
            ).returncode


def digest(*parts: str | bytes) -> str:
    """One digest of all `parts`, told apart from each other."""
    return hashlib.sha256(json.dumps([hashlib.sha256(_bytes(part)).hexdigest() for part in parts]).encode()).hexdigest()


def _bytes(part: str | bytes) -> bytes:
    return part.encode() if isinstance(part, str) else part


@contextlib.contextmanager
def locked(path: Path) -> Iterator[IO[str]]:
    """Hold the lock file at `path`; a second builder of the same checkout waits here, and says so."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another build of .venv ...", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def fitting_kind() -> str:
    """`gpu` where the NVIDIA driver answers and names a device, else `cpu`; of an AMD GPU a line says so."""
    if "GPU" in answer("nvidia-smi", "-L"):
        return "gpu"
    if "GPU" in answer("amd-smi", "list") or "GPU[" in answer("rocm-smi", "--showid"):
        print(NO_ROCM_SET, flush=True)
    return "cpu"


def answer(*command: str) -> str:
    """What a driver's program prints; nothing where it is missing or fails."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout if result.returncode == 0 else ""


def require_python(version: tuple[int, ...]) -> None:
    """End the program with one line where this Python is too old."""
    if version < OLDEST_PYTHON:
        found, oldest = (".".join(map(str, numbers[:2])) for numbers in (version, OLDEST_PYTHON))
        advice = f"name a newer one: make PYTHON=python{oldest} ..."
        raise SystemExit(f"error: Python {found} is too old, enginescope needs {oldest} or newer; {advice}")


def interrupt(*_: Any) -> None:
    """Take a SIGTERM as a Ctrl-C, so that pip ends with this program."""
    raise KeyboardInterrupt


def main() -> None:
    """Build the environment that the command line asks for."""
    require_python(sys.version_info[:2])
    parser = argparse.ArgumentParser(description="Build .venv from the pinned set that fits this machine, once.")
    parser.add_argument("--set", dest="kind", choices=("cpu", "gpu"), help="the pinned set (default: what fits)")
    kind = parser.parse_args().kind or fitting_kind()
    signal.signal(signal.SIGTERM, interrupt)
    try:
        Environment(ROOT, kind).bring_up()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
