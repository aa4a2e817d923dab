"""Whether an arm answers as the reference arm does."""

from __future__ import annotations

import re

import pytest

from offline.expected.conditions import CONNECTORS, CONTEXT_PARALLEL, UNMODELLED
from offline.records.lines import AnswersRecord
from offline.spec.grid import ARITHMETIC, Arm
from offline.table.answers import AnswerColumns, answer_columns, sentences
from tests.needs import installed_vllm

PLAIN, FP8 = (Arm({"kv_cache_dtype": dtype}, ("kv_cache_dtype",), ()) for dtype in ("auto", "fp8"))
REFERENCE = "kv_cache_dtype=auto"


def answers(arm: Arm, tokens: list[list[int]], log_probs: list[list[float]]) -> AnswersRecord:
    return AnswersRecord(arm.id, 1, tuple(map(tuple, tokens)), tuple(map(tuple, log_probs)))


EXPECTED = answers(PLAIN, [[1, 2, 3, 4], [5, 6, 7, 8]], [[-1.0] * 4, [-2.0] * 4])


def test_tokens_agree_up_to_the_first_that_differs_and_are_compared_no_further() -> None:
    other = answers(FP8, [[1, 2, 9, 4], [5, 6, 7, 8]], [[-1.1, -1.1, -9.0, -9.0], [-2.1] * 4])
    columns = answer_columns([PLAIN, FP8], [EXPECTED, other])
    assert columns[PLAIN.id] == AnswerColumns(1.0, 0.0, REFERENCE)
    assert columns[FP8.id] == AnswerColumns(0.75, pytest.approx(0.1), REFERENCE)


def test_without_log_probabilities_tokens_alone_are_compared() -> None:
    columns = answer_columns([PLAIN, FP8], [EXPECTED, answers(FP8, [[0, 0, 0, 0], [5, 6, 0, 0]], [])])
    assert columns[FP8.id] == AnswerColumns(0.25, None, REFERENCE)


def test_an_arm_that_did_not_answer_is_not_compared() -> None:
    assert answer_columns([PLAIN, FP8], []) == {}
    assert set(answer_columns([PLAIN, FP8], [EXPECTED])) == {PLAIN.id}


def test_a_sentence_an_arm_that_is_not_the_reference() -> None:
    rows = [
        {"greedy_agreement": 1.0, "log_prob_difference": 0.0, "answers_reference": REFERENCE},
        {"greedy_agreement": 0.75, "log_prob_difference": 0.1, "answers_reference": REFERENCE},
        {"greedy_agreement": None, "log_prob_difference": None, "answers_reference": ""},
    ]
    assert sentences(rows, [REFERENCE, "kv_cache_dtype=fp8", "x"]) == [
        "kv_cache_dtype=fp8: 75% of greedy tokens as kv_cache_dtype=auto, log probabilities 0.1000 nat apart"
    ]


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        *(("kv_cache_dtype", True), ("dtype", True), ("quantization", True), ("speculative_config", True)),
        *(("spec_method", True), ("attention_backend", True), ("moe_backend", True), ("vllm", True)),
        *(("seed", False), ("block_size", False), ("max_num_batched_tokens", False)),
    ],
)
def test_only_some_axes_may_change_the_arithmetic(axis: str, expected: bool) -> None:
    assert Arm({axis: 1}, (axis,), ()).may_answer_otherwise is expected


def test_they_are_engine_arguments_of_the_installed_vllm() -> None:
    place = installed_vllm().find_place("vllm.engine.arg_utils:EngineArgs")
    assert place is not None
    arguments = {match[1] for line in place.lines() if (match := re.match(r"    (\w+): ", line))}
    assert {*ARITHMETIC, *CONNECTORS, *CONTEXT_PARALLEL, *UNMODELLED} - arguments == set()
