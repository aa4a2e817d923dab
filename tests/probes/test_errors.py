"""How a command ends, whatever it was doing when it was interrupted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTED_TEXT = """
from probes.errors import run_main

def main() -> int:
    exec("import signal; signal.raise_signal(signal.SIGINT)")  # as the text that a dataclass is made of
    return 0

run_main(main)
"""
FULL = """
from probes.errors import EnginescopeError, run_main

def main() -> int:
    print("a few words, which stay in the buffer")
    raise EnginescopeError("the rest is not known")

run_main(main)
"""


LOST_INTERRUPT = """
import contextlib, signal, time
from probes.errors import run_main, terminable

class Ending:
    def __del__(self) -> None:
        signal.raise_signal(NUMBER)  # what is raised here, Python prints and forgets

def main() -> int:
    with WITHIN:
        Ending()
        time.sleep(60)
    return 0

run_main(main)
"""


def test_a_failure_on_a_full_standard_output_has_its_own_code(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FULL)
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "failing"]
        environ = {"PYTHONPATH": str(ROOT)}
        ended = subprocess.run(command, cwd=tmp_path, env=environ, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (1, "error: the rest is not known\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_help_that_a_full_disk_does_not_take_is_one_line(unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "probes.machine", "--help"]
        environ = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        ended = subprocess.run(command, cwd=ROOT, env=environ, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (1, "error: cannot write the output: No space left on device\n")


UNREAD = """
import sys
from probes.console import console, show_text
from probes.errors import run_main

def main() -> int:
    for number in range(100_000):
        WRITE
    return 0

run_main(main)
"""


@pytest.mark.parametrize("write", ["print(number)", "show_text(console(), str(number))"])
def test_a_reader_that_goes_away_is_told_as_a_shell_tells_it(write: str, tmp_path: Path) -> None:
    (tmp_path / "unread.py").write_text(UNREAD.replace("WRITE", write))
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "unread"]
    ended = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_a_pipe_to_another_process_is_not_our_output(tmp_path: Path) -> None:
    writing = "reading, writing = os.pipe()\n    os.close(reading)\n    os.write(writing, b'x')"
    script = f"import os\nfrom probes.errors import run_main\n\ndef main() -> int:\n    {writing}\n\nrun_main(main)\n"
    (tmp_path / "broken.py").write_text(script)
    command = [sys.executable, "-m", "broken"]
    ended = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (1, "error: another process went away: [Errno 32] Broken pipe\n")


def test_an_interrupt_within_a_text_that_runs_ends_with_130_and_not_by_a_signal(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(INTERRUPTED_TEXT)
    command = [sys.executable, "-m", "interrupted"]
    ended = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize(
    ("number", "within"), [("signal.SIGTERM", "terminable()"), ("signal.SIGINT", "contextlib.nullcontext()")]
)
def test_an_interrupt_that_falls_into_a_callback_is_not_lost(number: str, within: str, tmp_path: Path) -> None:
    (tmp_path / "ending.py").write_text(LOST_INTERRUPT.replace("NUMBER", number).replace("WITHIN", within))
    command = [sys.executable, "-m", "ending"]
    environ = {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=50)
    assert (ended.returncode, ended.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize("room", ["notes", "offline", "probes", "tracing"])
def test_an_interrupt_of_a_commands_first_imports_is_one_line(room: str, tmp_path: Path) -> None:
    package = tmp_path / "room"
    package.mkdir()
    (package / "__init__.py").write_text((ROOT / room / "__init__.py").read_text())
    (package / "command.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    command = [sys.executable, "-m", "room.command"]
    ended = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (130, "interrupted\n")


def test_a_program_that_imports_a_room_keeps_its_interrupt(tmp_path: Path) -> None:
    package = tmp_path / "server"
    package.mkdir()
    (package / "__init__.py").write_text("import probes, tracing\n")
    (package / "main.py").write_text(
        "import signal\nprint(signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
    )
    command = [sys.executable, "-m", "server.main", "probes.doctor"]
    ended = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "True\n")


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "drawing.py").write_text(
        "import sys\nsys.modules['plotly'] = None\nfrom probes.errors import run_main\n"
        "def main() -> int:\n    import plotly.graph_objects\n    return 0\nrun_main(main)\n"
    )
    command = [sys.executable, "-m", "drawing"]
    ended = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (1, "error: this needs plotly: pip install 'enginescope[charts]'\n")
