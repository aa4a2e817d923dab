"""How the time of an engine's start is split, from the stamps of its record."""

from __future__ import annotations

from typing import Any

import pytest

from tests.offline.armrecords import RESOLVED, both, started

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
    assert (row["startup_s"], row["startup_spawn_s"]) == (30.0, None)
    assert str(row["startup_note"]).startswith("spawn: the core was forked")
