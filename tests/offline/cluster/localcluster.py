"""A Ray cluster of two nodes on this machine, and commands that use it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[3]
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}


class LocalCluster:
    """Two nodes with a processor each, of which the second may use one core only, where there are more."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        usable = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(usable)})
        try:
            self.second = cluster.add_node(num_cpus=1)
        finally:
            os.sched_setaffinity(0, usable)

    @property
    def second_name(self) -> str:
        """What a run calls the second node."""
        return f"node {self.second.node_id[:8]}"

    @property
    def names(self) -> set[str]:
        """What a run calls both."""
        return {self.second_name, f"node {self.cluster.head_node.node_id[:8]}"}

    def on_second(self, words: str) -> psutil.Process | None:
        """A process of the second node that has these words in its command."""
        (raylet,) = self.second.all_processes["raylet"]
        children = psutil.Process(raylet.process.pid).children(recursive=True)
        return next((child for child in children if any(words in word for word in _command(child))), None)

    def kill_second(self) -> None:
        """End the second node, with all that it runs, as a power cut would."""
        self.cluster.remove_node(self.second, allow_graceful=False)

    def start(self, out: Path, module: str, *words: str) -> subprocess.Popen[str]:
        """Start a command with `--on ray` in this cluster."""
        return subprocess.Popen(
            [sys.executable, "-m", module, "--out", str(out), "--on", "ray", *words],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "RAY_ADDRESS": self.cluster.address},
        )

    def run(self, out: Path, module: str, *words: str) -> tuple[int, str]:
        """Run one to its end: exit code and everything that was printed."""
        process = self.start(out, module, *words)
        text, _ = process.communicate(timeout=300)
        return process.returncode, text


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return list(process.cmdline())
    return []


@contextlib.contextmanager
def local_cluster(**environment: str) -> Iterator[LocalCluster]:
    """The cluster, whose nodes have these variables and find our packages; skipped where Ray is not installed.

    What a node that is killed leaves of its temporary files goes with the cluster; Ray's own paths have to be short.
    """
    utils = pytest.importorskip("ray.cluster_utils")
    paths = [*environment.pop("PYTHONPATH", "").split(os.pathsep), str(ROOT), os.environ.get("PYTHONPATH", "")]
    own = {**QUIET, **environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        own |= {"TMPDIR": scratch, "RAY_TMPDIR": tempfile.gettempdir()}
        for name, value in own.items():
            patch.setenv(name, value)
        cluster = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            yield LocalCluster(cluster)
        finally:
            cluster.shutdown()
