"""A workload out of a trace: who shares a prefix, by what was found in the cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from offline.workload.fromtrace import PREFIX, read_trace, with_donors
from offline.workload.items import Item
from probes.errors import EnginescopeError


def shared(*pairs: tuple[int, int]) -> list[tuple[int, int]]:
    items = [Item(prompt, 8, PREFIX if cached else None, cached) for prompt, cached in pairs]
    return [(item.input_tokens, item.prefix_tokens if item.prefix else 0) for item in with_donors(items)]


def test_the_latest_request_before_that_is_long_enough_shares_the_prefix() -> None:
    assert shared((40, 0), (64, 0), (20, 0), (50, 32)) == [(40, 0), (64, 32), (20, 0), (50, 32)]


def test_a_prefix_has_one_donor_and_a_longer_one_another() -> None:
    assert shared((64, 0), (50, 32), (50, 32)) == [(64, 32), (50, 32), (50, 32)]
    assert shared((64, 0), (50, 32), (90, 48)) == [(64, 32), (50, 48), (90, 48)]


def test_what_was_in_the_cache_before_the_trace_began_has_no_donor() -> None:
    assert shared((50, 32), (20, 0)) == [(50, 32), (20, 0)]
    assert shared((20, 0), (50, 32)) == [(20, 0), (50, 32)]


def test_a_folder_without_a_trace_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EnginescopeError):
        read_trace(tmp_path)
