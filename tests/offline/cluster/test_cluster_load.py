"""A load run over two nodes, one of which dies in the middle."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from offline.load.folder import read_load_run, read_rates, read_requests, read_start, start_folders
from offline.load.records import VariantStart
from tests.offline.cluster.localcluster import LocalCluster, local_cluster
from tests.offline.load.loading import only_run, processes_of, small
from tests.shells import until

pytestmark = pytest.mark.slow(100)
COMMAND = "tests.offline.cluster.fake_cluster_load"
VARIANTS = '[quick]\nkind = "torch"\n[slow]\nkind = "torch"\nsettings = {token_s = 0.002}\n'


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with local_cluster() as cluster:
        yield cluster


def words(out: Path, *more: str) -> tuple[str, ...]:
    out.mkdir(exist_ok=True)
    (file := out / "variants.toml").write_text(VARIANTS)
    return (*small("--rates", "20"), "--variants-file", str(file), "--starts", "2", *more)


def starts(out: Path) -> list[VariantStart]:
    return [read_start(folder) for file in out.glob("*/load/*/run.json") for folder in start_folders(file.parent)]


def test_a_lost_nodes_start_is_measured_again_on_the_other(tmp_path: Path, cluster: LocalCluster) -> None:
    process = cluster.start(tmp_path, COMMAND, *words(tmp_path))
    until(lambda: process.poll() is not None or cluster.second_name in {each.card for each in starts(tmp_path)}, 60)
    cluster.kill_second()
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    assert f"{cluster.second_name} was lost; again on another" in text and "Traceback" not in text
    path = only_run(tmp_path)
    lost, *others = sorted(starts(tmp_path), key=lambda start: start.state == "complete")
    assert (lost.card, lost.state, lost.reason) == (cluster.second_name, "failed", "its node was lost")
    assert [start.state for start in others] == ["complete"] * 4 and lost.card not in {each.card for each in others}
    assert sorted(start.variant for start in others) == ["quick", "quick", "slow", "slow"]
    assert read_load_run(path).state == "complete" and (path / "report.html").exists()


def test_starts_of_both_nodes_come_into_one_folder_and_how_they_differ_is_named(
    tmp_path: Path, cluster: LocalCluster
) -> None:
    code, text = cluster.run(tmp_path, COMMAND, *words(tmp_path))
    assert code == 0, text
    path = only_run(tmp_path)
    assert len({start.card for start in starts(tmp_path)}) == 2
    for folder in start_folders(path):
        start = read_start(folder)
        assert [rate.rate_req_s for rate in read_rates(folder)] == [None, 20.0]
        assert {(each.variant, each.start) for each in read_requests(folder)} == {(start.variant, start.start)}
    if len(os.sched_getaffinity(0)) > 1:
        notes = [note for note in read_load_run(path).notes if "differs" in note]
        cores = len(os.sched_getaffinity(0))
        assert notes == [f"{cluster.second_name} differs in cores_usable: {cores} and 1 (here and there)"]
        assert notes[0] in text
    assert processes_of(tmp_path) == []


def test_what_is_ended_leaves_nothing_running_and_can_be_continued(tmp_path: Path, cluster: LocalCluster) -> None:
    process = cluster.start(tmp_path, COMMAND, *words(tmp_path))
    until(lambda: process.poll() is not None or len(starts(tmp_path)) == 2, 60)
    process.terminate()
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted; to continue: python -m offline.load --resume" in text
    assert [start.state for start in starts(tmp_path)] == ["interrupted"] * 2
    until(lambda: not processes_of(tmp_path), 30)
    code, text = cluster.run(tmp_path, COMMAND, "--resume")
    assert code == 0, text
    assert sum(start.state == "complete" for start in starts(tmp_path)) == 4
