"""A load run before it starts: an engine is given room for every request that it will be sent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from offline.cluster.nodes import ClusterNode, RayCluster
from offline.load import preparation
from offline.load.planning.plans import longest_searched, schedule_head
from offline.load.planning.schedule import Schedule, read_schedule, schedule_name
from offline.load.planning.spec import LoadSpec
from offline.load.preparation import PreparedLoad, new_run, notes, refuse_over_budget, resumed_run
from offline.variants.variant import Variant
from offline.workload.items import Item
from offline.workload.source import WorkloadSource, write_items
from probes.checkpoint import two_layer_model
from probes.errors import EnginescopeError
from tests.needs import needs_vllm

pytestmark = needs_vllm  # the model's tokenizer comes with its set


def room(folder: Path, **asked: object) -> int:
    """`max_model_len` of the engine for a workload of 100 requests of 20 tokens and one of 600."""
    items = (Item(12, 8),) * 100 + (Item(500, 100),)
    write_items(folder / "items.jsonl", WorkloadSource("one long one", True, "literal", None, items))
    spec = LoadSpec(
        model=str(two_layer_model()),
        load_format="dummy",
        workload=str(folder / "items.jsonl"),
        duration_s=1.0,
        variants=("vllm-page",),
        **asked,  # type: ignore[arg-type]
    )
    prepared = new_run(spec, folder / "results", None, None)
    prepared.folder.close()
    return int(prepared.run.variants[0].settings["max_model_len"])


def test_short_requests_need_little_room(tmp_path: Path) -> None:
    assert room(tmp_path, rates=(10.0,), seed=5) == 128


def test_the_long_request_of_the_warm_up_has_room(tmp_path: Path) -> None:
    """With this seed it is one of the eight, and none of the twenty or so that are measured."""
    assert room(tmp_path, rates=(10.0,), seed=9) == 640


def test_the_long_request_of_a_search_has_room(tmp_path: Path) -> None:
    """A search sends thousands of requests, and so all of a file of a hundred."""
    assert room(tmp_path, knee=True, seed=5) == 640


def test_the_long_request_of_a_long_recording_has_room_in_a_search() -> None:
    """A search sends the first 29,040 of a recording; a draw of so many with this seed does not hold the eighth."""
    items = tuple(Item(500 if number == 7 else 12, 8, at_s=float(number)) for number in range(60_000))
    source, model = WorkloadSource("recorded", False, "literal", None, items), two_layer_model()
    spec = LoadSpec(knee=True, arrivals="recorded", seed=0)
    assert longest_searched(spec, source, schedule_head(spec, model, source), model) == 508


def on_nodes(folder: Path, count: int) -> PreparedLoad:
    """A run of two starts on so many nodes of a cluster; on none it is this machine's."""
    write_items(folder / "items.jsonl", WorkloadSource("short", True, "literal", None, (Item(12, 8),)))
    spec = LoadSpec(
        model=str(two_layer_model()),
        load_format="dummy",
        workload=str(folder / "items.jsonl"),
        rates=(10.0,),
        starts=2,
        variants=("vllm-page",),
    )
    cluster = RayCluster(tuple(ClusterNode(str(number), 1.0, 0.0) for number in range(count)), None)
    prepared = new_run(spec, folder / str(count), None, None, cluster if count else None)
    prepared.folder.close()
    return prepared


def test_nodes_that_measure_at_the_same_time_are_in_the_estimate(tmp_path: Path) -> None:
    alone, spread = on_nodes(tmp_path, 0), on_nodes(tmp_path, 2)
    assert (alone.at_once, spread.at_once) == (1, 2)
    assert spread.run.estimate_s == alone.run.estimate_s / 2


def test_a_run_against_one_server_is_not_continued_on_nodes(tmp_path: Path) -> None:
    prepared = on_nodes(tmp_path, 1)
    run = replace(prepared.run, spec=replace(prepared.run.spec, base_url="http://127.0.0.1:8000"))
    prepared.folder.write_run(run)
    with pytest.raises(EnginescopeError, match="asks one server, which nodes would share: leave --on out"):
        resumed_run(str(prepared.folder.path), tmp_path, prepared.cluster)


RECORDING = (Item(12, 4, at_s=0.0), Item(24, 8, at_s=0.5), Item(9000, 2, at_s=0.7), Item(16, 2, at_s=2.0))


def replay(folder: Path, items: tuple[Item, ...] = RECORDING, **asked: object) -> tuple[PreparedLoad, list[Schedule]]:
    """A run on recorded arrivals, and its schedules: one at a time, then the rates."""
    write_items(folder / "items.jsonl", WorkloadSource("recorded", False, "literal", None, items[::-1]))
    spec = LoadSpec(
        model=str(two_layer_model()),
        load_format="dummy",
        workload=str(folder / "items.jsonl"),
        arrivals="recorded",
        variants=("vllm-page",),
        **asked,  # type: ignore[arg-type]
    )
    prepared = new_run(spec, folder / "results", None, None)
    prepared.folder.close()
    names = ["one-at-a-time", *(schedule_name(rate) for rate in prepared.run.spec.rates)]
    return prepared, [read_schedule(prepared.folder.path / "schedules" / f"{name}.jsonl") for name in names]


def requests(schedule: Schedule) -> list[tuple[float, int, int]]:
    """When each request is due, its prompt tokens and its output tokens."""
    return [(each.at_s, len(each.prompt_token_ids), each.output_tokens) for each in schedule.requests]


def test_recorded_traffic_is_replayed_as_it_came(tmp_path: Path) -> None:
    """Each request keeps its time; the one that the model cannot hold is left out. Two gaps in two seconds."""
    prepared, (_, schedule) = replay(tmp_path)
    assert requests(schedule) == [(0.0, 12, 4), (0.5, 24, 8), (2.0, 16, 2)]
    assert prepared.run.spec.rates == (1.0,)
    assert schedule.head.duration_s == prepared.run.spec.duration_s == 3.0


def test_recorded_traffic_at_another_rate_ends_with_its_last_request(tmp_path: Path) -> None:
    _, (_, schedule) = replay(tmp_path, rates=(4.0,))
    assert requests(schedule) == [(0.0, 12, 4), (0.125, 24, 8), (0.5, 16, 2)]
    assert schedule.head.duration_s == 0.75


def test_recorded_traffic_is_cut_at_the_duration(tmp_path: Path) -> None:
    _, (_, schedule) = replay(tmp_path, duration_s=1.0)
    assert (requests(schedule), schedule.head.duration_s) == ([(0.0, 12, 4), (0.5, 24, 8)], 1.0)


@pytest.mark.parametrize(
    ("items", "knee", "message"),
    [
        (RECORDING, True, r"--knee tries rates with 1,8\d\d requests or more, and recorded recorded 3"),
        ((Item(12, 4, at_s=0.0),), False, "recorded recorded no two arrivals at different times: name --rates"),
        ((Item(12, 4),), False, "recorded recorded no two arrivals at different times: name --rates"),
    ],
)
def test_a_recording_that_is_too_short_is_refused(
    tmp_path: Path, items: tuple[Item, ...], knee: bool, message: str
) -> None:
    with pytest.raises(EnginescopeError, match=message):
        replay(tmp_path, items, knee=knee)


def test_a_server_that_does_not_answer_is_refused_before_there_is_a_run(tmp_path: Path) -> None:
    with pytest.raises(EnginescopeError, match=r"http://127\.0\.0\.1:9/v1/models lists no model"):
        room(tmp_path, rates=(10.0,), base_url="http://127.0.0.1:9")
    assert not (tmp_path / "results").exists()


def test_a_server_without_room_for_the_longest_request_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "first_model", lambda *_: ("m", 256))
    with pytest.raises(EnginescopeError, match="m there holds 256 tokens a request, and the longest has 600"):
        room(tmp_path, rates=(10.0,), seed=9, base_url="http://127.0.0.1:9")


def test_a_budget_counts_the_cards() -> None:
    """Two variants take 40 s, 60 s one at a time and 75 s at the rate each: on two cards that is 175 s together."""
    spec, variants = LoadSpec(rates=(1.0,), budget_s=200.0), [Variant("one"), Variant("two")]
    refuse_over_budget(spec, variants, places=2)
    with pytest.raises(EnginescopeError, match="one start of each variant takes some 6 min"):
        refuse_over_budget(spec, variants, places=0)


def test_workers_that_share_a_node_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "shared_threads", lambda settings, engines: settings or engines > 1)
    variants = [Variant("one"), Variant("two", settings={"tensor_parallel_size": 2}), Variant("apart", split=True)]
    assert list(notes(variants, knee=False)) == [
        "two: its workers share the cores of one NUMA node, unbound",
        "apart: its engines share the cores, unbound",
    ]
