"""Real engines on a cluster of two nodes, one of which dies in the middle of measuring; skipped without Ray."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from offline.load.folder import read_load_run, read_rates, read_requests, read_start, start_folders
from offline.records.run import read_run
from probes.checkpoint import two_layer_model
from tests.engine.recording import FORKED
from tests.offline.cluster.localcluster import LocalCluster, local_cluster
from tests.offline.load import loading
from tests.offline.sweep import sweeping
from tests.shells import until

pytestmark = [pytest.mark.engine, pytest.mark.slow]
LOAD = ("--load-format", "dummy", "--rates", "10", "--duration", "5s", "--variants", "vllm-page", "--starts", "2")
GRID = ("--batch-size", "1,4", "--block-size", "32", "--prefix-caching", "off")
SWEEP = (*sweeping.SMALL, *GRID, "--starts", "2", "--repeats", "6")


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with local_cluster(**FORKED) as cluster:
        yield cluster


def kill_in_the_middle(cluster: LocalCluster, module: str, name: str, words: str) -> list[psutil.Process]:
    """Kill the second node once the records of what it measures hold some words; the processes of its engine."""
    engine = until(lambda: cluster.on_second(module), 120)
    assert engine
    log = Path(os.readlink(f"/proc/{engine.pid}/fd/1"))
    files = [folder / name for folder in log.parents[:2]]
    until(lambda: any(words in file.read_text() for file in files if file.exists()), 300)
    processes = [engine, *engine.children(recursive=True)]
    cluster.kill_second()
    return processes


def ended(processes: list[psutil.Process]) -> bool:
    return all(not each.is_running() or each.status() == psutil.STATUS_ZOMBIE for each in processes)


def ends_without_the_second(
    cluster: LocalCluster, process: subprocess.Popen[str], module: str, name: str, words: str
) -> None:
    """The second node is killed in the middle; the run says so and ends well, and nothing of that node runs on."""
    engines = kill_in_the_middle(cluster, module, name, words)
    text, _ = process.communicate(timeout=600)
    assert process.returncode == 0, text
    assert f"{cluster.second_name} was lost; again on another" in text and "Traceback" not in text
    until(lambda: ended(engines), 30)


def test_a_load_start_whose_node_dies_is_measured_again_on_the_other(tmp_path: Path, cluster: LocalCluster) -> None:
    process = cluster.start(tmp_path, "offline.load", "--model", str(two_layer_model()), *LOAD)
    ends_without_the_second(cluster, process, "offline.variants.process", "requests.jsonl", "token_ns")
    path = loading.only_run(tmp_path)
    complete = [folder for folder in start_folders(path) if read_start(folder).state == "complete"]
    assert [{read_start(folder).card} for folder in complete] == [cluster.names - {cluster.second_name}] * 2
    for folder in complete:
        assert [rate.rate_req_s for rate in read_rates(folder)] == [None, 10.0]
        for rate in read_rates(folder):  # nodes that share a busy machine's cores may leave some unfinished
            assert 0 < rate.finished == rate.sent - rate.unfinished and rate.failed == 0
        requests = [(each.rate_req_s, each.request) for each in read_requests(folder)]
        assert len(requests) == len(set(requests)) == sum(rate.sent for rate in read_rates(folder))
    assert read_load_run(path).state == "complete"


def test_an_arm_whose_node_dies_is_measured_again_on_the_other(tmp_path: Path, cluster: LocalCluster) -> None:
    process = cluster.start(tmp_path, "offline.sweep", "--model", str(two_layer_model()), *SWEEP)
    ends_without_the_second(cluster, process, "offline.engine.arm", "records.jsonl", '"kind":"trial"')
    folder = sweeping.only_run(tmp_path)
    assert len(sweeping.trials(folder)) == len(set(sweeping.trials(folder))) == 2 * 2 * 6
    assert {start["node"] for start in sweeping.records(folder, "start")} == cluster.names - {cluster.second_name}
    assert read_run(folder).state == "complete"
