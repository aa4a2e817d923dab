"""Records as a run writes them, by hand, and the rows of the table that they make."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.records.lines import Record, StopRecord, TrialRecord, record_of
from offline.records.resolved import Resolved
from offline.spec.grid import Arm, Cell
from offline.table.cells import Row, cell_identity, rows, run_drift
from offline.table.figures import measure
from offline.table.files import arm_name
from tracing.events.step import GC_PAUSE, STEP, STEP_FIELDS

MS = 1_000_000
COLD, WARM = (Cell(2, state, input_len=8, output_len=3, shared_prefix_len=4) for state in ("cold", "warm"))
AXES = ("block_size", "enable_prefix_caching")
SETTINGS = {"model": "m", "dtype": "float32", "block_size": 32, "enable_prefix_caching": True}
ARM = Arm(SETTINGS, AXES, (COLD, WARM))

RESOLVED: dict[str, Any] = dict.fromkeys(each.name for each in fields(Resolved)) | {
    **{"dtype": "float32", "block_size": 32, "effective_block_size": None},
    **{"enable_prefix_caching": True, "kv_blocks": 10, "kv_tokens": 320, "compilation_mode": "NONE"},
    **{"device": "cpu", "kv_cache_memory_bytes": 512},
}
# The front end (pid 1) imports for 2 s and starts the core (pid 2) and the worker (pid 3); all stamps in seconds.
PHASES: list[dict[str, Any]] = [
    {"phase": "load_weights", "pid": 3, "start_ns": 19, "end_ns": 20, "weights_bytes": 1000},
    {"phase": "executor", "pid": 2, "start_ns": 10, "end_ns": 21},
    {"phase": "profile", "pid": 2, "start_ns": 21, "end_ns": 22},
    {"phase": "worker_kv", "pid": 3, "start_ns": 22, "end_ns": 24, "kv_cache_bytes": 512, "attention_backend": ["CPU"]},
    {"phase": "kv_allocation", "pid": 2, "start_ns": 22, "end_ns": 25},
    {"phase": "warm_up", "pid": 2, "start_ns": 25, "end_ns": 26},
]


def started(**changes: Any) -> Record:
    """The record of an engine that came up in 30 s."""
    second = 1_000_000_000
    phases = [p | {name: p[name] * second for name in ("start_ns", "end_ns")} for p in PHASES]
    plain = {"kind": "start", "arm": ARM.id, "engine": 1, "name": ARM.name, "resolved": RESOLVED, "phases": phases}
    plain |= {"vocabulary": 5000, "step_log": True, "unhooked": []}
    plain |= {"import_start_ns": 0, "engine_start_ns": 2 * second, "ready_ns": 30 * second}
    plain |= {"plugin_ns": {"1": 3 * second, "2": 9 * second, "3": 18 * second}}
    memory = [{"title": "VLLM::Worker", "pid": pid, "rss_bytes": size} for pid, size in ((3, 300), (4, 200))]
    return record_of(plain | {"memory": memory, "started_together": 2} | changes)


def step(start_ms: int, end_ms: int, **counts: int) -> list[int]:
    """A record of the step log; what is not said is 0."""
    known = {"kind": STEP, "start_ns": start_ms * MS, "end_ns": end_ms * MS} | counts
    return [known.get(name, 0) for name in STEP_FIELDS]


# Two requests of 8 + 3 tokens. The second is prefilled beside the first one's first decode.
STEPS = [
    step(0, 100, prefill_requests=1, prefill_tokens=8, waiting=1, kv_used_blocks=2),
    step(100, 200, prefill_requests=1, prefill_tokens=8, decode_requests=1, decode_tokens=1, first_decodes=1),
    step(200, 230, decode_requests=2, decode_tokens=2, first_decodes=1, kv_used_blocks=4),
    step(210, 215, kind=GC_PAUSE, waiting=2),
    step(230, 270, decode_requests=1, decode_tokens=1),
    step(270, 271),
]
REQUEST = {"prompt_tokens": 8, "cached_tokens": 2, "generated_tokens": 3, "finish_reason": "length"}
REQUEST |= {"queued_s": 7.0, "scheduled_s": 7.0, "first_token_s": 7.1}
REQUESTS = [
    {**REQUEST, "ttft_s": 0.10, "last_token_s": 7.23},
    {**REQUEST, "ttft_s": 0.20, "last_token_s": 7.17},
]


def trial(cell: Cell, index: int, **changes: Any) -> TrialRecord:
    """A trial of 300 ms that found 4 cached tokens, as arithmetic said."""
    plain: dict[str, Any] = {"kind": "trial", "cell": ARM.cell_id(cell), "trial": index, "arm": ARM.id, "engine": 1}
    plain |= {"group": 0, "round": index}
    plain |= {"start_ns": 0, "end_ns": 300 * MS, "requests": REQUESTS, "asked_tokens": 6, "prefix_hits": 4}
    plain |= {"expected_cached_tokens": 4, "preemptions": 0, "reference_ns": [29 * MS, 31 * MS]}
    plain |= {"seed": 1, "prefix_queries": 16, "steps_lost": 0, "step_fields": STEP_FIELDS, "steps": STEPS}
    record = record_of(plain | changes)
    assert isinstance(record, TrialRecord)
    return record


def stop(status: str, reason: str) -> Record:
    """The record of an arm that was given up."""
    return StopRecord(ARM.id, 1, status, reason)


def both(*records: Record, repeats: int = 2) -> list[Row]:
    """The rows of the cold and the warm cell."""
    return rows([ARM], repeats, list(records))


def only(row: Row, *names: str) -> list[Any]:
    return [row[name] for name in names]


def test_the_figures_of_a_trial() -> None:
    assert asdict(measure(trial(COLD, 0))) == pytest.approx(
        {
            "elapsed_s": 0.3,
            "output_tok_s": 20.0,
            "total_tok_s": 22 / 0.3,
            **{"latency_s_p50": 0.25, "latency_s_p95": 0.268, "latency_s_p99": 0.2696},
            **{"ttft_s_p50": 0.15, "ttft_s_p95": 0.195, "ttft_s_p99": 0.199},
            **{"tpot_s_p50": 0.05, "tpot_s_p95": 0.0635, "tpot_s_p99": 0.0647},
            **{"queue_s_p50": 0.0, "queue_s_p95": 0.0, "queue_s_p99": 0.0},
            **{"prefill_s_p50": 0.1, "prefill_s_p95": 0.1, "prefill_s_p99": 0.1},
            **{"decode_s_p50": 0.10, "decode_s_p95": 0.127, "decode_s_p99": 0.1294},
            # Without first decodes: one request waited 30 ms for a token, and one 40 ms.
            **{"itl_s_p50": 0.03, "itl_s_p95": 0.04, "itl_s_p99": 0.04},
            "output_tokens_mean": 1.0,
            "itl_token_s_mean": 0.035,
            "cached_tokens": 4,
            "running_mean": 1.5,
            "running_max": 2,
            "waiting_max": 1,
            "preemptions": 0,
            "kv_used_blocks_max": 4,
            "prefill_steps": 1,
            "mixed_steps": 1,
            "decode_steps": 2,
            **{"gpu_utilization_percent": None, "gpu_power_w": None, "gpu_memory_share": None},
            "gc_pause_s": 0.005,
            "reference_s": 0.03,
        }
    )


def test_the_gpus_of_a_trial() -> None:
    card = {
        "index": 0,
        "name": "H100",
        "used_bytes": 60,
        "total_bytes": 80,
        "utilization_percent": 90.0,
        "power_w": 400.0,
    }
    other = card | {"index": 1, "used_bytes": 20, "utilization_percent": 70.0, "power_w": 200.0}
    names = ("gpu_utilization_percent", "gpu_power_w", "gpu_memory_share")
    assert only(asdict(measure(trial(COLD, 0, devices=[card, other]))), *names) == [80.0, 600.0, 0.75]
    for figure, unknown in zip(names, ("utilization_percent", "power_w", "used_bytes"), strict=True):
        figures = asdict(measure(trial(COLD, 0, devices=[card, other | {unknown: None}])))
        assert [name for name in names if figures[name] is None] == [figure]


def test_where_an_output_holds_two_tokens_the_time_between_tokens_is_half_of_that_between_outputs() -> None:
    speculated = [request | {"generated_tokens": 5} for request in REQUESTS]
    one = asdict(measure(trial(COLD, 0, requests=speculated)))
    assert only(one, "output_tokens_mean", "itl_token_s_mean") == [2.0, pytest.approx(0.0175)]
    assert only(one, "itl_s_p50") == only(asdict(measure(trial(COLD, 0))), "itl_s_p50")


def test_a_trial_without_a_decode_has_no_time_between_tokens() -> None:
    one = asdict(measure(trial(COLD, 0, requests=[REQUESTS[0] | {"generated_tokens": 1}], steps=STEPS[:1])))
    assert only(one, "tpot_s_p50", "itl_s_p99", "running_mean", "decode_steps") == [None, None, 1.0, 0]


def test_a_trial_without_steps_still_has_its_times() -> None:
    one = asdict(measure(trial(COLD, 0, steps=[])))
    assert only(one, "elapsed_s", "running_mean", "running_max", "itl_s_p50", "gc_pause_s") == [
        0.3,
        None,
        None,
        None,
        0,
    ]


def test_steps_are_read_by_the_names_they_were_written_with() -> None:
    turned = {"step_fields": list(reversed(STEP_FIELDS)), "steps": [values[::-1] for values in STEPS]}
    assert measure(trial(COLD, 0, **turned)) == measure(trial(COLD, 0))


@given(st.lists(st.tuples(st.integers(1, 90), st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_every_step_that_ran_something_is_of_one_sort(drawn: list[tuple[int, int, int]]) -> None:
    steps = [step(0, end, prefill_requests=prefill, decode_requests=decode) for end, prefill, decode in drawn]
    found = asdict(measure(trial(COLD, 0, steps=steps)))
    ran = [prefill + decode for _, prefill, decode in drawn if prefill + decode]
    assert sum(only(found, "prefill_steps", "mixed_steps", "decode_steps")) == len(ran)
    assert found["running_mean"] == (pytest.approx(sum(ran) / len(ran)) if ran else None)


def test_a_whole_cell() -> None:
    row = both(started(), trial(COLD, 0), trial(COLD, 1, end_ns=200 * MS))[0]
    identity = ["batch_size", "prefix_caching", "block_size", "cache_state", "input_len", "output_len"]
    assert only(row, *identity, "shared_prefix_len") == [2, "on", 32, "cold", 8, 3, 4]
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


STARTUP = {
    "startup_s": 30.0,
    "startup_import_s": 2.0,
    "startup_spawn_s": 16.0,  # 7 s to the core's first line, 9 s from its executor to the worker's weights
    "startup_load_weights_s": 1.0,
    "startup_profile_kv_s": 4.0,
    "startup_warm_up_s": None,
    "startup_rest_s": 7.0,
    "startup_note": "warm_up: an eager CPU worker with a given KV size has none",
}
WARMED = {"startup_warm_up_s": 1.0, "startup_rest_s": 6.0, "startup_note": ""}


@pytest.mark.parametrize(
    ("resolved", "split"),
    [
        ({}, STARTUP),
        ({"compilation_mode": 0}, STARTUP),  # as vLLM's own number stands in JSON
        (
            {"kv_cache_memory_bytes": None},
            STARTUP | WARMED,
        ),
        ({"device": "cuda"}, STARTUP | WARMED),
    ],
)
def test_the_start_up_split_adds_up(resolved: dict[str, Any], split: dict[str, Any]) -> None:
    row = both(started(resolved=RESOLVED | resolved))[0]
    assert {name: value for name, value in row.items() if name.startswith("startup_")} == split
    parts = [value for name, value in split.items() if name != "startup_s" and isinstance(value, float)]
    assert sum(parts) == split["startup_s"]


def test_the_start_up_split_without_phases_is_import_and_rest() -> None:
    row = both(started(phases=[]))[0]
    assert {name: value for name, value in row.items() if name.startswith("startup_")} == {
        **dict.fromkeys(STARTUP),
        **{"startup_s": 30.0, "startup_import_s": 2.0, "startup_rest_s": 28.0},
        "startup_note": "no phase of the start was recorded",
    }


def test_a_forked_core_inherits_the_plugin_and_loads_none() -> None:
    """CUDA's default start method: only the front end wrote a proof."""
    row = both(started(plugin_ns={"1": 3_000_000_000}))[0]
    assert only(row, "startup_s", "startup_spawn_s") == [30.0, None]
    assert str(row["startup_note"]).startswith("spawn: the core was forked")


def test_drift_is_told_by_engine_start() -> None:
    later = {"engine": 2, "reference_ns": [33 * MS]}
    found = run_drift([started(), trial(COLD, 0), trial(COLD, 1), trial(WARM, 0, **later), trial(WARM, 1, **later)])
    assert found is not None
    assert (found.reference_s, found.starts) == (pytest.approx(0.0315), pytest.approx(0.1))
    assert run_drift([started()]) is None


@pytest.mark.parametrize("value", [None, True, "fp8", {"method": "ngram", "num_speculative_tokens": 3}])
def test_a_row_names_its_arm_as_the_arm_names_itself(value: object) -> None:
    axes = (*AXES, "speculative_config")
    arm = Arm(SETTINGS | {"speculative_config": value}, axes, (COLD,))
    assert arm_name(cell_identity(arm, COLD), axes) == arm.name
