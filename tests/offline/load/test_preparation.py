"""A load run before it starts: an engine is given room for every request that it will be sent."""

from __future__ import annotations

from pathlib import Path

from offline.load.preparation import new_run
from offline.load.spec import LoadSpec
from offline.workload.items import Item
from offline.workload.source import WorkloadSource, write_items
from probes.checkpoint import two_layer_model
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
