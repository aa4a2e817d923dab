"""The recorder on real processes where something goes wrong around them: what runs is never harmed, and all is said."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from enginescope_plugin import RING, TRACE
from tests.shells import until
from tests.tracing.attach.standingprocess import ROOT, counting, folder_of
from tracing.attach.moved import Moved
from tracing.attach.ring import Ring
from tracing.events.file import read
from tracing.events.standing import RECORDING, SWITCH
from tracing.sites.engine import CODES

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and time namespaces take root")


def attach(pid: int, *options: str, before: tuple[str, ...] = (), **environ: str) -> subprocess.Popen[str]:
    command = [*before, sys.executable, "-m", "tracing.attach", str(pid), *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | environ, stdout=pipe, stderr=pipe, text=True)


def attached(pid: int, *options: str, before: tuple[str, ...] = (), **environ: str) -> tuple[int, str]:
    """The exit code, and what was printed to stderr."""
    process = attach(pid, *options, before=before, **environ)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


@contextlib.contextmanager
def small_disk(path: Path, mib: int) -> Iterator[Path]:
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(disk: Path) -> None:
    """Leave nothing free."""
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


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
    with small_disk(tmp_path / "disk", 20) as disk:
        folder = folder_of(disk, standby=False, ring_bytes=30 << 20)
        with counting(folder, pause_s=0.0005) as process:
            fill(disk)
            until(lambda: "the recorder stopped" in capfd.readouterr().err)
            count = process.end()
        assert moved(folder, tmp_path / "out") == []
    assert values_in(tmp_path / "out") == list(range(count or -1))
    [path] = (tmp_path / "out").glob("process-*.json")
    assert json.loads(path.read_text())["error"] == "OSError: [Errno 28] No space left on device"


@needs_root
def test_a_reader_whose_disk_fills_up_turns_the_engine_off_again(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, standby=True)
    with small_disk(tmp_path / "disk", 2) as disk, counting(folder, pause_s=0.0005) as process:
        code, errors = attached(process.pid, "--seconds", "60", "--out", str(disk / "out"), "--partial")
        out = disk / "out"
        begun, ended = errors.splitlines()
        assert begun == "recording 1 process for 60 s; Ctrl-C ends it sooner"
        assert ended == f"error: cannot write {out}: No space left on device; name another with --out"
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
        assert code == 1 and "is already being recorded" in errors and is_on(folder)
        assert not (tmp_path / "second").exists()
        first.send_signal(signal.SIGINT)
        _, errors = first.communicate()
        assert first.returncode == 0 and not is_on(folder)
    begun, stopped = errors.splitlines()[:2]
    assert begun == "recording 1 process for 30 s; Ctrl-C ends it sooner"
    assert re.fullmatch(r"stopped after [\d.]+ of 30 s", stopped)


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


# A server as far as the recorder knows it: its first process loads the plugin, and then counts.
SERVER = """
import os, sys, time, enginescope_plugin
enginescope_plugin.load()
_recorder = enginescope_plugin.hooks_module("_recorder")
print(os.getpid(), os.environ["ENGINESCOPE_TRACE"], flush=True)
for count in range(sys.maxsize):
    _recorder.span(1, 1, f"request {count // 40}", count, 0, count)
    time.sleep(0.001)
"""
NO_MEMORY = {
    "none": "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3",
    "read-only": "mount -t tmpfs -o ro none /dev/shm",
    "as small as a container's": "mount -t tmpfs -o size=64m none /dev/shm",
}


@contextlib.contextmanager
def without_memory(script: str, folder: Path, hidden: str = "none") -> Iterator[subprocess.Popen[str]]:
    """A shell that has no `/dev/shm`, in which `$SERVER` is the command of a server with a ring."""
    command = ["unshare", "--mount", "sh", "-c", f"{NO_MEMORY[hidden]} || exit 1; {script}"]
    server = shlex.join([sys.executable, "-c", SERVER])
    environ = {name: value for name, value in os.environ.items() if name != TRACE}
    environ |= {"SERVER": server, "TMPDIR": str(folder), RING: "8MiB"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as shell:
        try:
            yield shell
        finally:
            os.killpg(shell.pid, signal.SIGKILL)


def started(shell: subprocess.Popen[str]) -> tuple[int, Path]:
    """The process of the next server that comes up, and its standing folder."""
    assert shell.stdout is not None
    pid, folder = shell.stdout.readline().split()
    return int(pid), Path(folder)


@needs_root
@pytest.mark.parametrize("hidden", NO_MEMORY)
def test_without_memory_for_rings_they_are_on_the_disk(tmp_path: Path, hidden: str) -> None:
    with without_memory('eval "exec $SERVER"', tmp_path, hidden) as shell:
        pid, folder = started(shell)
        assert folder.parent == tmp_path / f"enginescope-{os.getuid()}"
        code, errors = attached(pid, "--dump", "--out", str(tmp_path / "out"), "--partial", TMPDIR=str(tmp_path))
        assert code == 0, errors
    assert values_in(tmp_path / "out")[:2] == [0, 1]


@needs_root
def test_a_supervisor_starts_another_server_and_the_ring_of_the_killed_one_is_there(tmp_path: Path) -> None:
    with without_memory('while true; do eval "$SERVER"; done', tmp_path) as shell:
        first, folder = started(shell)
        until(lambda: Ring(folder / f"events-{first}.bin").written() > 200)
        os.kill(first, signal.SIGKILL)
        second, other = started(shell)
        assert other != folder
        for pid in (first, second):
            out = tmp_path / str(pid)
            code, errors = attached(pid, "--dump", "--out", str(out), "--partial", TMPDIR=str(tmp_path))
            assert code == 0, errors
            assert sorted(path.name for path in out.glob("events-*")) == [f"events-{pid}.bin", f"events-{pid}.texts"]
            values = values_in(out)
            assert values == list(range(len(values))) and (pid == second or len(values) > 100)


@needs_root
def test_a_server_with_clocks_of_its_own_is_looked_at_from_beside_it(tmp_path: Path) -> None:
    """As in a container that was restored; its times would be taken for ours."""
    folder = folder_of(tmp_path, standby=True)
    beside = ("unshare", "--time", "--monotonic", "100000", "--fork")
    with counting(folder, pause_s=0.01, before=beside) as process:
        [child] = psutil.Process(process.pid).children()
        code, errors = attached(child.pid, "--seconds", "0.5", "--out", str(tmp_path / "no"), "--partial")
        enter = ("nsenter", "--time", "--target", str(child.pid))
        line = f"process {child.pid} has clocks of its own (a time namespace): {shlex.join(enter)} python -m …"
        assert (code, errors) == (1, f"error: {line}\n")
        code, errors = attached(
            child.pid, "--seconds", "0.5", "--out", str(tmp_path / "out"), "--partial", before=enter
        )
        assert code == 0, errors
        child.terminate()
    values = values_in(tmp_path / "out")
    assert values == list(range(values[0], values[-1] + 1))


# Adds the seconds that stand in a mapped file to the wall clock, and to no other.
WALL_CLOCK = """
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static volatile long *added;
__attribute__((constructor)) static void map(void) {
    added = mmap(NULL, sizeof *added, PROT_READ, MAP_SHARED, open(getenv("WALL_CLOCK"), O_RDONLY), 0);
}
int clock_gettime(clockid_t clock, struct timespec *at) {
    int failure = (int)syscall(SYS_clock_gettime, clock, at);
    if (!failure && clock == CLOCK_REALTIME) at->tv_sec += *added;
    return failure;
}
"""


def test_a_step_of_the_wall_clock_moves_no_record(tmp_path: Path) -> None:
    folder, clock, library = folder_of(tmp_path, False, 30 << 20), tmp_path / "clock", tmp_path / "clock.so"
    compiler = ["cc", "-shared", "-fPIC", "-o", str(library), "-x", "c", "-"]
    subprocess.run(compiler, input=WALL_CLOCK, text=True, check=True)
    clock.write_bytes(struct.pack("l", 86400))
    with counting(folder, pause_s=0.01, LD_PRELOAD=str(library), WALL_CLOCK=str(clock)) as process:
        [path] = folder.glob("events-*.bin")
        anchor = read(path).process.anchor
        assert anchor is not None and anchor.wall_ns - time.time_ns() > 80_000 * 10**9  # it is that clock
        ring = Ring(path)
        for step_s in (-3600, 7200):
            end = ring.written() + 1000
            with clock.open("r+b") as file:
                file.write(struct.pack("l", step_s))
            until(lambda end=end: ring.written() > end)
        assert moved(folder, tmp_path / "out") == []
        assert process.end()
    values, collections = values_in(tmp_path / "out"), read(tmp_path / "out" / path.name).spans
    assert values == list(range(len(values)))
    assert (np.diff(collections["end"][collections["site"] == CODES["gc"]]) > 0).all()
