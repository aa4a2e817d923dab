"""Keys reach the command, and no file of the trace folder."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes.programs import program
from tracing.nsys import redaction
from tracing.pyspy import titles
from tracing.record import launch

ROOT = Path(__file__).resolve().parents[3]
KEYS = {"HF_TOKEN": "hf_Zq81WfTuVnAbCd", "OPENAI_API_KEY": "Kx77-open-Pm42", "DB_PASSWORD": "two\nlines of it"}
WORD = "Ww19-on-the-line"
PROGRAM = """
import os, time
import nvtx  # a range, so that the report is kept
nvtx.push_range("all of it")
nvtx.pop_range()
print("visible:", *(len(os.environ[name]) for name in ("HF_TOKEN", "OPENAI_API_KEY", "DB_PASSWORD")))
print(os.environ["HF_TOKEN"], flush=True)
time.sleep(1.5)
"""


def texts(sqlite: Path) -> Iterator[str]:
    """Every text of every table."""
    with sqlite3.connect(sqlite) as file:
        for (table,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in file.execute(f'SELECT * FROM "{table}"'):
                yield from (value for value in row if isinstance(value, str))


def recorded(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, "--api-key", WORD]
    recorder = [sys.executable, "-m", "tracing.record", "--out", str(folder), *options, "--", *command]
    return subprocess.run(recorder, cwd=ROOT, env=os.environ | KEYS, capture_output=True, text=True, timeout=200)


def holders(folder: Path) -> list[str]:
    """The files that hold a key, and the key."""
    secrets = [*KEYS.values(), WORD]
    return [
        f"{path.name}: {secret}"
        for path in folder.rglob("*")
        if path.is_file()
        for secret in secrets
        if secret.encode() in path.read_bytes()
    ]


@pytest.mark.nsys
def test_no_key_is_in_the_folder_of_a_capture(tmp_path: Path) -> None:
    if shutil.which("nsys") is None:
        pytest.skip("no nsys here: apt-get install nsight-systems")
    done = recorded(tmp_path / "trace", "--nsys")
    assert "visible: 17 14 15" in done.stdout, done.stderr
    assert holders(tmp_path / "trace") == []
    strings = list(texts(tmp_path / "trace" / "nsys.sqlite"))
    assert not [text for text in strings for secret in [*KEYS.values(), WORD] if secret in text]
    assert [text for text in strings if "HF_TOKEN=***" in text], "nsys read the recorder's own environment"
    assert not list((tmp_path / "trace").glob("nsys.[!s]*"))
    [line] = [line for line in done.stderr.splitlines() if "nsys.nsys-rep" in line and "deleted" in line]
    assert all(f"-u {name} " in line for name in KEYS)


def test_no_key_is_in_the_folder_of_samples(tmp_path: Path) -> None:
    if program("py-spy") is None:
        pytest.skip("no py-spy here: pip install py-spy")
    done = recorded(tmp_path / "trace", "--py-spy")
    assert "visible: 17 14 15" in done.stdout, done.stderr
    assert holders(tmp_path / "trace") == []
    assert "--api-key " + "*" * len(WORD) in (tmp_path / "trace" / "pyspy-events.json").read_text()
    assert "--api-key '***'" in json.loads((tmp_path / "trace" / "trace.json").read_text())["command"]


@pytest.fixture
def sqlite(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "nsys.sqlite") as file:
        file.execute("CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT)")
        environment = "HOME=/root\0XY_TOKEN=of a neighbour\0MAX_TOKENS=512\0"
        rows = [(environment,), ("said Kx77-open-Pm42 aloud",), ("core.step",), ("key",), (None,)]
        file.executemany("INSERT INTO StringIds (value) VALUES (?)", rows)
    file.close()
    return tmp_path / "nsys.sqlite"


def test_known_values_and_stored_variables_are_blanked(sqlite: Path) -> None:
    (sqlite.parent / "nsys.nsys-rep").touch()
    [line] = redaction.redact(sqlite.parent, {"OPENAI_API_KEY": KEYS["OPENAI_API_KEY"], "PIN_TOKEN": "key"}, [])
    assert list(texts(sqlite)) == ["HOME=/root\0XY_TOKEN=***\0MAX_TOKENS=512\0", "said *** aloud", "core.step", "key"]
    assert b"neighbour" not in sqlite.read_bytes() and not (sqlite.parent / "nsys.nsys-rep").exists()
    assert line == (
        "nsys.nsys-rep deleted: nsys stores the environment, and OPENAI_API_KEY, PIN_TOKEN would be readable in it; "
        "to keep it: env -u OPENAI_API_KEY -u PIN_TOKEN python -m tracing.record --nsys …"
    )


def test_a_report_with_keys_of_other_processes_alone_stays_and_they_are_named(sqlite: Path) -> None:
    (sqlite.parent / "nsys.nsys-rep").touch()
    [line] = redaction.redact(sqlite.parent, {}, [])
    assert line == "nsys.nsys-rep holds XY_TOKEN of other processes on this machine: pass on nsys.sqlite in its place"
    assert (sqlite.parent / "nsys.nsys-rep").exists()


@pytest.mark.parametrize("content", [b"no database " * 20, None], ids=["damaged", "never exported"])
def test_a_report_that_cannot_be_judged_is_deleted(tmp_path: Path, content: bytes | None) -> None:
    (tmp_path / "nsys.nsys-rep").touch()
    if content:
        (tmp_path / "nsys.sqlite").write_bytes(content)
    [line] = redaction.redact(tmp_path, {}, [WORD])
    assert not list(tmp_path.iterdir())
    assert line.endswith("deleted: a key on the command line was in it; hand it over in a file or a variable")


def test_a_command_that_is_handed_over_sees_its_variables() -> None:
    words, descriptor = launch.hand_over(
        [sys.executable, "-c", "import os, sys; print(os.environ['A_KEY'], sys.argv[1])", "word"],
        {"A_KEY": "k" * 100_000},
    )
    done = subprocess.run(words, pass_fds=[descriptor], capture_output=True, text=True, timeout=60)
    os.close(descriptor)
    assert done.stdout == "k" * 100_000 + " word\n" and "word" not in words


def test_a_command_that_cannot_be_handed_over_is_named() -> None:
    words, descriptor = launch.hand_over(["no-such-program"], {})
    done = subprocess.run(words, pass_fds=[descriptor], capture_output=True, text=True, timeout=60)
    os.close(descriptor)
    assert (done.returncode, done.stderr) == (1, "cannot run 'no-such-program': No such file or directory\n")


@pytest.mark.parametrize(
    ("title", "cleared"),
    [
        (b"x --api-key abc -v", b"x --api-key *** -v"),
        (rb"x --api-key=a\"bc", rb"x --api-key=*****"),
        (b"x -H Authorization: Bearer abc -v", b"x -H Authorization: ********** -v"),
        (b"x --model m", b"x --model m"),
        (b"app.py --api-key a --max-a 1", b"app.py --api-key * --max-a 1"),
        (rb"sh -c x --api-key\nab", rb"sh -c x --api-key\n**"),
    ],
)
def test_command_lines_of_samples(title: bytes, cleared: bytes) -> None:
    assert titles.cleared_title(title) == cleared
