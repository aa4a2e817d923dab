"""A server that was started without standby: sampled by py-spy, its metrics read, and told what a restart would add."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tracing.attach.standingprocess import ROOT

# An ordinary process that serves the metrics of vLLM's, or none, and counts more the longer it works.
SERVER = """
import sys, time
from tests.probes.metrics.metrics_server import Engines, serving
engines = Engines()
def serve_tokens():
    while True:
        engines.work()
        time.sleep(0.001)
with serving(engines.text if sys.argv[1] == "metrics" else lambda: (404, "")) as url:
    print(url, flush=True)
    serve_tokens()
"""
WITHOUT_STANDBY = "process {pid} was not started with ENGINESCOPE=standby: py-spy samples it{metrics}. A restart with "
ADDED = "adds where the time of each request and step goes, in every process."


@dataclass(frozen=True)
class Server:
    """The process, and its address."""

    pid: int
    url: str

    def said(self, metrics: str) -> str:
        """What a look at it says first."""
        return WITHOUT_STANDBY.format(pid=self.pid, metrics=metrics)


@contextmanager
def server(kind: str = "metrics") -> Iterator[Server]:
    """The process, while the block lasts."""
    command = [sys.executable, "-c", SERVER, kind]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield Server(child.pid, child.stdout.readline().strip())
        finally:
            child.kill()


def run(module: str, *words: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", module, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_by_its_address_it_is_sampled_and_its_metrics_are_read(tmp_path: Path) -> None:
    out = tmp_path / "with space"
    with server() as started:
        done = run("tracing.attach", started.url, "--seconds", "1", "--out", str(out))
    assert done.returncode == 0, done.stderr
    said, begun = done.stderr.splitlines()
    assert begun == "sampling for 1 s; Ctrl-C ends it sooner"
    assert said.startswith(started.said(", and its metrics are read")) and said.endswith(ADDED)
    counted, wrote, following = done.stdout.splitlines()
    assert counted.startswith("running 3  waiting 2  KV 25") and re.search(r"  out [\d,.]+ tok/s  ", counted)
    assert wrote == f"Wrote {out}" and following == f"next: python -m tracing.pyspy {shlex.quote(str(out))}"
    assert_sampled(out)


def test_by_its_process_id_it_is_sampled_alone(tmp_path: Path) -> None:
    out = tmp_path / "trace"
    with server() as started:
        done = run("tracing.attach", str(started.pid), "--seconds", "1", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(started.said("")) and f"{ADDED}\n" in done.stderr
    assert done.stdout.startswith(f"Wrote {out}\n")
    assert_sampled(out)


def test_a_server_without_metrics_is_sampled_all_the_same(tmp_path: Path) -> None:
    out = tmp_path / "trace"
    with server("none") as started:
        done = run("tracing.attach", started.url, "--seconds", "1", "--out", str(out))
    assert done.returncode == 0 and done.stderr.startswith(started.said("")), done.stderr
    assert done.stdout.startswith(f"Wrote {out}\n")


def assert_sampled(folder: Path) -> None:
    """The command that comes next shows the function in which the process is."""
    done = run("tracing.pyspy", str(folder), "--top", "20")
    assert done.returncode == 0, done.stderr
    assert "serve_tokens" in (folder / "samples.folded").read_text()


@pytest.mark.parametrize("option", [["--torch", "5"], ["--nsys", "5"], ["--otlp", "http://127.0.0.1:4318"]])
def test_what_only_standby_can_is_refused_and_nothing_is_written(option: list[str], tmp_path: Path) -> None:
    with server() as started:
        done = run("tracing.attach", started.url, *option, "--out", str(tmp_path / "trace"))
    line = f"error: process {started.pid} is not in standby: start it with ENGINESCOPE=standby in its environment\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)
    assert not list(tmp_path.iterdir())


def test_where_py_spy_may_not_look_nothing_is_left(tmp_path: Path) -> None:
    out = tmp_path / "trace"
    before = ("setpriv", "--bounding-set", "-sys_ptrace") if os.geteuid() == 0 else ()
    with server() as started:
        done = run("tracing.attach", str(started.pid), "--seconds", "1", "--out", str(out), before=before)
    if done.returncode == 0:
        pytest.skip("this machine lets anybody trace")
    assert done.returncode == 1 and "ptrace was refused" in done.stderr.splitlines()[-1]
    assert not out.exists()
