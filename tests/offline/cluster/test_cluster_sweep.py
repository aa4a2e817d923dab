"""A sweep over two nodes on a stand-in for vLLM, one of which dies in the middle."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from enginescope_plugin import STEP_LOG
from offline.records.run import read_run
from tests.offline.cluster.localcluster import LocalCluster, local_cluster
from tests.offline.sweep.sweeping import FAKE, GRID, only_run, records, run, trials
from tests.shells import until

pytestmark = pytest.mark.slow(100)
COMMAND = "offline.sweep"
TWICE = (*GRID, "--starts", "2")


@pytest.fixture
def model(tmp_path: Path) -> str:
    (folder := tmp_path / "nothing").mkdir()
    (folder / "config.json").write_text("{}")
    return str(folder)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCluster]:
    """Its engines take three seconds to start."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with local_cluster(PYTHONPATH=str(FAKE), FAKE_START_S="3") as cluster:
        yield cluster


def test_a_lost_nodes_arm_is_measured_again_on_the_other(tmp_path: Path, model: str, cluster: LocalCluster) -> None:
    """Every trial is there once, with the prompts that it has in a run on one machine, and no node's name is twice."""
    process = cluster.start(tmp_path / "two", COMMAND, "--model", model, *TWICE)
    engine = until(lambda: cluster.on_second("offline.engine.arm"), 60)
    scratch = Path(engine.environ()[STEP_LOG])
    cluster.kill_second()
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    assert f"{cluster.second_name} was lost; again on another" in text and "Traceback" not in text
    assert not engine.is_running() and not scratch.exists()
    code, words = run(tmp_path / "one", "--model", model, *TWICE, fake=True)
    assert code == 0, words
    folder = only_run(tmp_path / "two")
    assert sorted(trials(folder)) == sorted(trials(only_run(tmp_path / "one")))
    starts = records(folder, "start")
    assert len(starts) == 4 and {start["node"] for start in starts} < cluster.names
    assert read_run(folder).state == "complete" and (folder / "logs" / f"{starts[0]['arm']}.log").exists()


def test_what_differs_between_nodes_is_said_before_any_figure(
    tmp_path: Path, model: str, cluster: LocalCluster
) -> None:
    code, text = cluster.run(tmp_path / "two", COMMAND, "--model", model, *TWICE)
    assert code == 0, text
    folder = only_run(tmp_path / "two")
    starts = records(folder, "start")
    assert sorted(start["engine"] for start in starts) == [1, 2, 3, 4]
    assert {start["node"] for start in starts} == cluster.names
    assert len({trial["group"] for trial in records(folder)}) == 2  # a pass each
    if (cores := len(os.sched_getaffinity(0))) > 1:
        assert read_run(folder).elsewhere == (
            f"{cluster.second_name} differs in cores_usable: {cores} and 1 (here and there)",
        )
        assert re.search(r"OTHER NODES: .*: node \w+ differs in cores_usable: .*\n(.*\n)*.*tok/s", text)


def test_an_arm_that_is_refused_on_a_node_gets_no_further_start(tmp_path: Path, model: str) -> None:
    with local_cluster(PYTHONPATH=str(FAKE), FAKE_REFUSE_BLOCKS="32") as cluster:
        code, text = cluster.run(tmp_path / "two", COMMAND, "--model", model, *GRID, "--starts", "3")
    assert code == 0 and "No common block size for 32" in text
    folder = only_run(tmp_path / "two")
    (stop, *others) = records(folder, "stop")
    assert stop["status"] == "refused" and len(others) < 2  # where both nodes had a start of it at the same time
    assert len(records(folder, "start")) == 3 and len(trials(folder)) == 3 * 2 * 3


def test_what_a_node_cannot_give_is_refused_before_a_cluster_is_looked_for(tmp_path: Path) -> None:
    code, text = run(tmp_path, "--on", "ray", "--vllm", "installed")
    assert code == 2 and "leave --vllm, --until and --budget out" in text
    code, text = run(tmp_path, "--on", "ray", "--budget", "5m")
    assert code == 2 and text.endswith("--budget and --on ray exclude each other\n")
    assert not [*tmp_path.iterdir()]
