"""The recorder on real processes where something goes wrong around them: what runs is never harmed, and all is said."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from enginescope_plugin import RING
from tests.shells import until
from tests.tracing.attach.standingprocess import PROGRAM, ROOT, CountingProcess, counting, folder_of
from tracing.attach.moved import Moved
from tracing.attach.ring import Ring
from tracing.events import standing
from tracing.events.file import read
from tracing.events.standing import PAUSED, RECORDING, SWITCH

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and time namespaces take root")
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
needs_faketime = pytest.mark.skipif(not Path(FAKETIME).exists(), reason="libfaketime is not installed")


def attach(pid: int, *options: str, before: tuple[str, ...] = (), **environ: str) -> subprocess.Popen[str]:
    command = [*before, sys.executable, "-m", "tracing.attach", str(pid), *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | environ, stdout=pipe, stderr=pipe, text=True)


def attached(pid: int, *options: str, before: tuple[str, ...] = (), **environ: str) -> tuple[int, str]:
    """The exit code, and what was printed to stderr."""
    process = attach(pid, *options, before=before, **environ)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


@contextmanager
def small_disk(path: Path, mib: int) -> Iterator[Path]:
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def values_in(folder: Path) -> list[int]:
    """What the process counted, as it was written."""
    [path] = folder.glob("events-*.bin")
    spans = read(path).spans
    return [int(value) for value in spans["value"][spans["site"] == 1]]


def moved(source: Path, out: Path) -> list[str]:
    out.mkdir()
    return Moved(source, out).close()


def is_on(folder: Path) -> bool:
    return (folder / SWITCH).read_bytes()[0] == RECORDING


@needs_root
def test_a_disk_that_fills_up_ends_the_recording_and_not_the_process(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", 14) as disk:
        folder = folder_of(disk, standby=False, ring_bytes=30 << 20)
        with counting(folder, pause_s=0.0005) as process:
            until(lambda: "the recorder stopped" in capfd.readouterr().err)
            count = process.end()
        assert moved(folder, tmp_path / "out") == []
    assert values_in(tmp_path / "out") == list(range(count or -1))


@needs_root
def test_a_reader_whose_disk_fills_up_turns_the_engine_off_again(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, standby=True)
    with small_disk(tmp_path / "disk", 2) as disk, counting(folder, pause_s=0.0005) as process:
        code, errors = attached(process.pid, "--seconds", "60", "--out", str(disk / "out"), "--partial")
        out = disk / "out"
        assert errors == f"error: cannot write {out}: No space left on device; name another with --out\n"
        assert (code, is_on(folder), out.exists()) == (1, False, False)
        assert process.end()


def test_a_reader_that_is_killed_leaves_the_engine_free_for_the_next(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, standby=True)
    with counting(folder, pause_s=0.01) as process:
        reader = attach(process.pid, "--seconds", "60", "--out", str(tmp_path / "first"), "--partial")
        until(lambda: is_on(folder))
        reader.kill()
        reader.communicate()
        until(lambda: not is_on(folder), limit_s=30)  # its lease is over
        code, errors = attached(process.pid, "--seconds", "0.5", "--out", str(tmp_path / "second"), "--partial")
        assert code == 0, errors
        assert process.end()


def test_of_two_readers_one_is_refused_in_standby_and_a_ring_has_room_for_both(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, standby=True)
    with counting(folder, pause_s=0.01) as process:
        first = attach(process.pid, "--seconds", "30", "--out", str(tmp_path / "first"), "--partial")
        until(lambda: is_on(folder))
        code, errors = attached(process.pid, "--seconds", "1", "--out", str(tmp_path / "second"), "--partial")
        assert code == 1 and "somebody else records" in errors and is_on(folder)
        first.send_signal(signal.SIGINT)
        first.communicate()
        assert first.returncode == 0 and not is_on(folder)


def test_two_readers_of_a_ring_have_all_of_it(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, standby=False, ring_bytes=30 << 20)
    with counting(folder, pause_s=0.02) as process:
        readers = [attach(process.pid, "--dump", "--out", str(tmp_path / name), "--partial") for name in "ab"]
        for reader in readers:
            _, errors = reader.communicate(timeout=120)
            assert reader.returncode == 0, errors
        assert process.end()
    for name in "ab":
        values = values_in(tmp_path / name)
        assert values == list(range(len(values))) and values


# A server as far as the recorder knows it: the plugin in its first process, and what the recorder writes.
SERVER = "import os, sys, enginescope_plugin\nenginescope_plugin.load()\n"
SERVER += 'sys.argv = ["-c", os.environ["ENGINESCOPE_TRACE"], "0", "0.01"]\n'
SERVER += PROGRAM.replace("from tracing.hooks import _recorder, recorder", "").replace(
    "import os, signal, sys, time",
    "import signal, time\n_recorder, recorder = map(enginescope_plugin.hooks_module, ('_recorder', 'recorder'))",
).replace('recorder.begin(sys.argv[1], ["core"])', "")
NO_MEMORY = {
    "none": "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3",
    "read-only": "mount -t tmpfs -o ro none /dev/shm",
    "as small as a container's": "mount -t tmpfs -o size=64m none /dev/shm",
}
