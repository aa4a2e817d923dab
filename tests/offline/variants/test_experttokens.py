"""Tokens that experts got, counted from what vLLM names with a request."""

from __future__ import annotations

import numpy as np

from offline.variants.experttokens import ExpertTokens


def test_experts_are_counted_by_layer_until_they_are_taken() -> None:
    """Two tokens in three layers, of which the middle one is dense; a second request of one token."""
    counts = ExpertTokens(4)
    counts.add(np.array([[[0, 1], [0, 0], [2, 3]], [[0, 2], [0, 0], [3, 1]]], dtype=np.uint8))
    counts.add(np.array([[[1, 0], [0, 0], [3, 2]]], dtype=np.uint8))
    assert counts.take() == [[3, 2, 1, 0], [0, 0, 0, 0], [0, 1, 2, 3]]
    assert counts.take() == []


def test_a_layer_without_experts_beside_layers_of_one_expert_a_token_counts_none() -> None:
    """Every second layer is dense: vLLM's buffer has zeros there, which are no tokens of the first expert."""
    counts = ExpertTokens(2)
    counts.add(np.array([[[0], [0]], [[1], [0]], [[0], [0]]], dtype=np.uint8))
    assert counts.take() == [[2, 1], [0, 0]]


def test_an_engine_that_names_none_has_no_counts() -> None:
    counts = ExpertTokens(0)
    counts.add(None)
    assert counts.take() == []
