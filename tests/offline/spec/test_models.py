"""Several models as an axis: how they are named, what their arms are, and what their cards hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from offline.page.cards import card_rows, has_cards, uneven
from offline.records.lines import DeviceUse, StartRecord
from offline.spec.grid import Cell
from offline.spec.model import ModelMark
from offline.spec.models import Models, find_models, recorded_models
from offline.spec.plan import complete, grid_of, plan
from offline.spec.spec import Spec
from offline.table.cards import CardColumns, card_columns
from probes.errors import EnginescopeError
from probes.machine import fingerprint
from tests.offline.armrecords import started, trial
from tests.offline.reports import a_report
from tracing.events.enginephase import EnginePhase

GIB = 1 << 30
MACHINE = replace(fingerprint(), gpus=(), platform="cpu", cpu_flags=("avx2",))
SHAPE = {"num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 1000, "max_position_embeddings": 2048}


def a_model(folder: Path, hidden: int) -> Path:
    """A folder with a configuration and no weights."""
    folder.mkdir(parents=True)
    config = {"hidden_size": hidden, "intermediate_size": 4 * hidden, **SHAPE}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def both(tmp_path: Path) -> Models:
    small, large = a_model(tmp_path / "small", 64), a_model(tmp_path / "large", 1024)
    return find_models(f"{small},{large}", "dummy")


def test_models_are_levels_of_an_axis_each_with_its_cards(both: Models) -> None:
    spec, _ = complete(Spec(model="small,large", cards=(1, 2), block_size=(32,), batch_size=(1, 8)), both, MACHINE)
    grid = grid_of(spec, both, MACHINE)
    assert [
        (arm.levels["model"], arm.settings["tensor_parallel_size"], arm.levels["prefix_caching"]) for arm in grid
    ] == [
        *(("small", 1, "off"), ("small", 1, "on"), ("large", 2, "off"), ("large", 2, "on")),
    ]
    assert "tensor_parallel_size" not in grid[0].axes  # it goes with the model
    assert both.label == "small+large" and both.of(grid[2].settings) == both.places["large"]


def test_the_larger_model_takes_longer_by_the_plan(both: Models) -> None:
    alone = {name: Models({name: place}) for name, place in both.places.items()}
    spec, _ = complete(Spec(block_size=(32,), batch_size=(8,), output_len=(64,)), alone["small"], MACHINE)
    seconds = {name: plan(spec, models, MACHINE).seconds for name, models in alone.items()}
    assert seconds["small"] < seconds["large"] < plan(replace(spec, model="a,b"), both, MACHINE).seconds


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    names = [str(a_model(tmp_path / folder / "same", 64)) for folder in ("a", "b")]
    with pytest.raises(EnginescopeError, match="--model names same twice"):
        find_models(",".join(names), "dummy")


def test_a_folder_with_a_comma_in_its_name_is_one_model(tmp_path: Path) -> None:
    assert list(find_models(str(a_model(tmp_path / "a,b", 64)), "dummy").places) == ["a,b"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model": "A,B", "cards": [1, 0]}, "cards must be 1 or more, not 0"),
        ({"cards": [2], "engine": {"tensor_parallel_size": 2}}, "tensor_parallel_size and --cards say the same"),
    ],
)
def test_cards_that_do_not_fit_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(EnginescopeError, match=words):
        Spec.from_dict(values)


def test_cards_are_a_number_for_each_model() -> None:
    assert find_models("ORG/7B,ORG/14B", "auto", (1, 2)).label == "7B+14B"
    with pytest.raises(EnginescopeError, match="--cards has 1 numbers for 2 models: give one for each"):
        find_models("ORG/7B,ORG/14B", "auto", (1,))


def test_a_run_on_disk_has_its_models_back(both: Models, tmp_path: Path) -> None:
    assert recorded_models(both.path_text).places == both.places
    assert recorded_models("ORG/7B,ORG/14B").places == {"7B": "ORG/7B", "14B": "ORG/14B"}
    with pytest.raises(FileNotFoundError, match="gone"):
        recorded_models(f"{both.path_text},{tmp_path / 'gone'}")


def test_the_mark_of_several_changes_with_each(both: Models, tmp_path: Path) -> None:
    assert Models({"7B": "ORG/7B"}).mark() == ModelMark(hub="ORG/7B")
    before = both.mark()
    (tmp_path / "large" / "model.safetensors").write_bytes(b"12")
    after = both.mark()
    assert before != after and after.weights_bytes == {"large/model.safetensors": 2}


def a_start() -> StartRecord:
    """An engine that came up."""
    record = started()
    assert isinstance(record, StartRecord)
    return record


def phase(pid: int, weights: int, kv: int | None) -> EnginePhase:
    return EnginePhase("load_weights", pid, 0, 1, weights_bytes=weights, kv_cache_bytes=kv)


def test_on_the_cpu_a_card_is_a_worker_with_its_weights_and_cache() -> None:
    start = a_start()
    two = replace(start.resolved, tensor_parallel_size=2)
    even = replace(start, resolved=two, phases=(phase(1, 4 * GIB, GIB), phase(2, 3 * GIB, GIB)))
    assert card_columns(even, []) == CardColumns(2, 5 * GIB, 0.8)
    one = replace(start, resolved=replace(two, tensor_parallel_size=1), phases=(phase(1, 4 * GIB, GIB),))
    assert card_columns(one, []) == CardColumns(1, 5 * GIB, None)
    untold = replace(even, phases=(phase(1, 4 * GIB, GIB), phase(2, 4 * GIB, None)))
    assert card_columns(untold, []) == CardColumns(2, None, None)


def test_gpus_that_the_engine_does_not_use_do_not_count() -> None:
    uses = tuple(DeviceUse(i, "H100", used * GIB, 80 * GIB, None, None) for i, used in enumerate((1, 60, 57)))
    measured = replace(trial(Cell(1, "cold", 8, 2, 0), 0), devices=uses)
    start = a_start()
    two = replace(start, resolved=replace(start.resolved, tensor_parallel_size=2))
    assert card_columns(two, [measured]) == CardColumns(2, 60 * GIB, 0.95)


def test_uneven_cards_are_named_and_even_ones_are_not() -> None:
    report = a_report()
    assert not has_cards(report) and list(uneven(report)) == []
    rows = tuple({**row, "cards": 2, "card_memory_bytes": 10 * GIB, "card_balance": 0.8} for row in report.rows)
    report = replace(report, rows=rows)
    first = next(uneven(report))
    assert has_cards(report)
    assert first.endswith("its cards are uneven, the least filled has 80% of the 10,240 MiB of the fullest.")
    name, _, cards, memory, balance, rate, a_card = card_rows(report)[0]
    assert name.startswith("block_size=") and (cards, memory, balance) == ("2", "10,240 MiB", "80%")
    assert float(a_card) == pytest.approx(float(rate) / 2, abs=0.1)
