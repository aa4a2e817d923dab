"""The rows of the table, from records written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from offline.records.lines import Record
from offline.spec.grid import Arm
from offline.table.cells import Row, cell_identity, rows, run_drift
from offline.table.files import arm_name
from offline.table.frames import run_frames
from tests.offline.armrecords import ARM, AXES, COLD, MS, REQUESTS, RESOLVED, SETTINGS, WARM, both, started, stop, trial


def only(row: Row, *names: str) -> list[Any]:
    return [row[name] for name in names]


def test_a_whole_cell() -> None:
    row = both(started(), trial(COLD, 0), trial(COLD, 1, end_ns=200 * MS))[0]
    identity = ["batch_size", "prefix_caching", "block_size", "cache_state", "input_len", "output_len"]
    assert only(row, *identity, "shared_prefix_len", "temperature") == [2, "on", 32, "cold", 8, 3, 4, 0.0]
    assert only(row, "status", "reason", "trials", "spread") == ["ok", "", 2, "95 % t-interval over 2 trials"]
    # 20 and 30 tokens a second; Student's factor for two trials is 12.706, the mean's standard error 5.
    assert only(row, "output_tok_s", "output_tok_s_lo", "output_tok_s_hi") == pytest.approx([25.0, -38.531, 88.531])
    assert only(row, "cached_tokens", "expected_cached_tokens", "cache_check") == [4, 4, "as expected"]
    assert only(row, "batch_histogram", "tokens_check", "cell") == ["2x4 1x4", "as asked", ARM.cell_id(COLD)]


def test_one_trial_has_no_interval() -> None:
    row = both(started(), trial(COLD, 0), repeats=1)[0]
    assert only(row, "status", "spread", "output_tok_s_lo", "output_tok_s_hi") == ["ok", "n=1", None, None]
    assert row["output_tok_s"] == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("records", "cold", "warm"),
    [
        ([], ("interrupted", "not started", 0), ("interrupted", "not started", 0)),
        ([started()], ("interrupted", "0 of 2 trials", 0), ("interrupted", "0 of 2 trials", 0)),
        (
            [started(), trial(COLD, 0), trial(WARM, 0), trial(COLD, 1)],
            ("ok", "", 2),
            ("interrupted", "1 of 2 trials", 1),
        ),
        (
            [stop("refused", "ValueError: no 32")],
            ("refused", "ValueError: no 32", 0),
            ("refused", "ValueError: no 32", 0),
        ),
        (
            [
                *(started(), trial(COLD, 0), trial(WARM, 0), trial(COLD, 1)),
                stop("failed", "no answer within 9 s"),
            ],
            ("ok", "", 2),
            ("failed", "no answer within 9 s", 1),
        ),
    ],
)
def test_status(records: list[Record], cold: tuple[str, str, int], warm: tuple[str, str, int]) -> None:
    assert [(row["status"], row["reason"], row["trials"]) for row in both(*records)] == [cold, warm]


def test_an_arm_that_failed_and_came_up_in_a_resume_has_failed_no_more() -> None:
    row = both(started(), stop("failed", "no answer within 9 s"), started(engine=2), trial(COLD, 0, engine=2))[0]
    assert only(row, "status", "reason") == ["interrupted", "1 of 2 trials"]


def test_a_cell_that_did_not_run_claims_nothing() -> None:
    row = both()[0]
    assert only(row, "expected_cached_tokens", "cache_check", "batch_histogram", "spread") == [None, "n/a", "", ""]
    assert row["tokens_check"] == "n/a"


def test_fewer_tokens_than_asked_are_seen() -> None:
    short = [REQUESTS[0], REQUESTS[1] | {"generated_tokens": 2}]
    assert both(trial(COLD, 0), trial(COLD, 1, requests=short))[0]["tokens_check"] == "differs in 1 of 2"


@pytest.mark.parametrize(
    ("trials", "expected", "check"),
    [
        ([{}, {"prefix_hits": 5}], 4, "differs in 1 of 2"),
        ([{}, {"expected_cached_tokens": 2, "prefix_hits": 2}], 3, "as expected"),
        ([{}, {"expected_cached_tokens": None}], 4, "n/a"),
    ],
)
def test_cache_check(trials: list[dict[str, Any]], expected: float, check: str) -> None:
    row = both(*(trial(COLD, index, **changes) for index, changes in enumerate(trials)))[0]
    assert only(row, "expected_cached_tokens", "cache_check") == [expected, check]


def test_what_the_engine_resolved_stands_in_every_row_of_its_arm() -> None:
    for row in both(started(), started(engine=2, memory=[])):
        assert only(row, "effective_block_size", "kv_blocks", "kv_tokens", "overridden") == [32, 10, 320, ""]
        assert only(row, "attention_backend", "weights_bytes", "kv_cache_bytes", "rss_bytes") == ["CPU", 1000, 512, 500]
        assert only(row, "starts", "started_together") == [2, 2]


def test_an_arm_that_never_came_up_resolved_nothing() -> None:
    assert not {"kv_blocks", "startup_s", "starts"} & set(both()[0])


def test_a_setting_that_the_engine_changed_is_shown_as_asked_and_as_got() -> None:
    row = both(started(resolved=RESOLVED | {"effective_block_size": 128, "dtype": "bfloat16"}))[0]
    assert row["overridden"] == "dtype: asked float32, got bfloat16; block_size: asked 32, got 128"
    assert only(row, "block_size", "effective_block_size", "dtype") == [32, 128, "bfloat16"]


def test_what_was_asked_still_tells_two_arms_apart_that_resolved_to_the_same() -> None:
    """`async_scheduling` on a CPU is off whatever one asks for."""
    axes = (*AXES, "async_scheduling")
    grid = [Arm(SETTINGS | {"async_scheduling": asked}, axes, (COLD,)) for asked in (False, True)]
    starts = [started(arm=arm.id, resolved=RESOLVED | {"async_scheduling": False}) for arm in grid]
    made = rows(grid, 2, starts)
    assert [only(row, "async_scheduling", "effective_async_scheduling") for row in made] == [
        [False, False],
        [True, False],
    ]
    assert [row["overridden"] for row in made] == ["", "async_scheduling: asked True, got False"]


def test_a_mapping_as_an_axis_is_one_value_of_the_row() -> None:
    speculative = {"method": "ngram", "num_speculative_tokens": 3}
    arm = Arm(SETTINGS | {"speculative_config": speculative}, (*AXES, "speculative_config"), (COLD,))
    assert rows([arm], 1, [])[0]["speculative_config"] == '{"method": "ngram", "num_speculative_tokens": 3}'


def test_drift_is_told_by_engine_start() -> None:
    later = {"engine": 2, "reference_ns": [33 * MS]}
    found = run_drift(
        [started(), trial(COLD, 0), trial(COLD, 1), trial(WARM, 0, **later), trial(WARM, 1, **later)], False
    )
    assert found is not None
    assert (found.reference_s, found.starts) == (pytest.approx(0.0315), pytest.approx(0.1))
    assert run_drift([started()], alive=1) is None


@pytest.mark.parametrize(("alive", "node", "in_turns"), [(1, None, False), (2, None, True), (2, "10.0.0.7", False)])
def test_engines_took_turns_where_several_were_alive_on_this_machine(
    alive: int, node: str | None, in_turns: bool
) -> None:
    """A run may be begun here and continued on a cluster, where a node has one engine at a time."""
    moved = run_drift([started(), trial(COLD, 0), started(engine=2, node=node), trial(WARM, 0, engine=2)], alive)
    assert moved is not None and moved.in_turns is in_turns


def on_gpu(kernel_ms: float, **more: Any) -> dict[str, Any]:
    """A reading on one GPU: half of the kernel's time in each part."""
    half = [int(kernel_ms * MS / 2)] * 3
    return {"name": "H100", "uuid": "GPU-a", "memory_ns": half, "compute_ns": half} | more


def test_the_drift_of_a_run_on_a_gpu_is_that_of_the_gpu() -> None:
    """The slowest of two cards counts: the others wait for it."""
    cuda, kernels = RESOLVED | {"device": "cuda"}, [on_gpu(2), on_gpu(2, uuid="GPU-b"), on_gpu(4, uuid="GPU-b")]
    later = {"engine": 2, "gpu_kernels": [on_gpu(3.3)]}
    records = [started(resolved=cuda), trial(COLD, 0, gpu_kernels=kernels), trial(WARM, 0, **later)]
    moved = run_drift(records, alive=1)
    assert moved is not None and moved.cpu is not None
    assert (moved.reference_s, moved.starts) == (pytest.approx(0.00315), pytest.approx(0.1))
    assert (moved.cpu.reference_s, moved.cpu.starts) == (pytest.approx(0.03), 0)


@pytest.mark.parametrize(
    ("note", "kernels", "reason"),
    [
        ("RuntimeError: CUDA error", [], "RuntimeError: CUDA error"),
        ("", [on_gpu(2)], "the kernel ran beside 1 of 2 trials"),
    ],
)
def test_why_the_drift_of_a_gpu_is_not_known(note: str, kernels: list[dict[str, Any]], reason: str) -> None:
    start = started(resolved=RESOLVED | {"device": "cuda"}, gpu_kernel_note=note)
    moved = run_drift([start, trial(COLD, 0), trial(WARM, 0, gpu_kernels=kernels)], alive=1)
    assert moved is not None and moved.gpu_note == reason and moved.reference_s == pytest.approx(0.03)


@pytest.mark.parametrize("value", [None, True, "fp8", {"method": "ngram", "num_speculative_tokens": 3}])
def test_a_row_names_its_arm_as_the_arm_names_itself(value: object) -> None:
    axes = (*AXES, "speculative_config")
    arm = Arm(SETTINGS | {"speculative_config": value}, axes, (COLD,))
    assert arm_name(cell_identity(arm, COLD), axes) == arm.name


def test_each_gpu_has_columns_of_its_own_with_intervals() -> None:
    """Two cards, of which the second does not tell its power; a trial of a resume has seen the first alone."""
    memory = {"name": "H100", "total_bytes": 80}
    card = memory | {"index": 0, "used_bytes": 60, "utilization_percent": 90.0, "power_w": 400.0}
    other = memory | {"index": 1, "used_bytes": 20, "utilization_percent": 70.0, "power_w": None}
    row = both(trial(COLD, 0, devices=[card, other]), trial(COLD, 1, devices=[card | {"power_w": 500.0}]))[0]
    assert only(row, "gpu0_utilization_percent", "gpu0_power_w", "gpu0_memory_share") == [90.0, 450.0, 0.75]
    assert only(row, "gpu1_utilization_percent", "gpu1_power_w", "gpu1_memory_share") == [70.0, None, 0.25]
    assert row["gpu0_power_w_lo"] < 450.0 < row["gpu0_power_w_hi"]
    assert not [name for name in both()[0] if name.startswith("gpu0")]


def test_cards_of_two_vendors_with_the_same_number_have_columns_of_their_own() -> None:
    """They are numbered by their places; a trial of a resume has seen the second alone."""
    h100 = {"index": 0, "name": "H100", "used_bytes": 60, "total_bytes": 80}
    mi300x = {"index": 0, "name": "MI300X", "used_bytes": 48, "total_bytes": 192}
    h100 |= {"utilization_percent": 90.0, "power_w": 500.0}
    mi300x |= {"utilization_percent": 10.0, "power_w": 100.0}
    records = [started(), trial(COLD, 0, devices=[h100, mi300x]), trial(COLD, 1, devices=[mi300x])]
    row = both(*records)[0]
    assert only(row, "gpu0_utilization_percent", "gpu0_power_w", "gpu0_memory_share") == [90.0, 500.0, 0.75]
    assert only(row, "gpu1_utilization_percent", "gpu1_power_w", "gpu1_memory_share") == [10.0, 100.0, 0.25]
    trials = run_frames([ARM], records).trials
    assert trials["gpu1_power_w"].tolist() == [100.0, 100.0] and trials["gpu0_power_w"].isna().tolist() == [False, True]
