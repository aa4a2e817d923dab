"""What variants resolved to is said beside what was asked, and those that came to the same are named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from offline.load.records import VariantStart
from offline.records.resolved import UNKNOWN
from offline.variants.resolution import first_up, resolution_notes


def start(variant: str, settings: dict[str, Any], **resolved: Any) -> VariantStart:
    return VariantStart(variant, 1, "vllm", settings, replace(UNKNOWN, **resolved), state="complete")


def test_what_resolved_differently_is_said() -> None:
    asked = {"async_scheduling": True, "dtype": "float32", "attention_backend": "TRITON_ATTN", "block_size": 16}
    starts = [start("fast", asked, async_scheduling=False, dtype="float32", block_size=16)]
    assert list(resolution_notes(starts)) == ["fast: async_scheduling was asked as True and resolved to False"]


def test_variants_that_came_to_the_same_are_named() -> None:
    starts = [start("a", {}, block_size=16), start("b", {}, block_size=32), start("c", {}, block_size=16)]
    assert list(resolution_notes(starts)) == ["a and c resolved to the same settings: their difference is chance"]


def test_a_variant_that_never_came_up_is_left_out() -> None:
    failed = VariantStart("a", 1, "vllm", {"block_size": 16}, state="refused")
    assert list(resolution_notes([failed, start("b", {})])) == []


def test_the_first_start_that_came_up_stands_for_its_variant() -> None:
    failed = VariantStart("a", 1, "vllm", {}, state="failed")
    second, third = (replace(start("a", {}), start=number) for number in (2, 3))
    assert first_up([failed, second, third]) == {"a": second}
