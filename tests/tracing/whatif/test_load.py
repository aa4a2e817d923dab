"""The load of an engine of our own: how long the prompts and answers of its streams are."""

from __future__ import annotations

from itertools import islice, pairwise

import pytest

from tracing.whatif.engine.load import ANSWER_TOKENS, LENGTH, PROMPT_TOKENS, lengths


@pytest.mark.parametrize("streams", [1, 3, 8])
def test_streams_are_full_one_after_the_other(streams: int) -> None:
    firsts = [next(lengths(number, streams)) for number in range(streams)]
    assert firsts[0] == (PROMPT_TOKENS, ANSWER_TOKENS)
    assert all(prompt + answer == LENGTH for prompt, answer in firsts)
    assert all(
        earlier - later == pytest.approx(ANSWER_TOKENS / streams, abs=1)
        for (_, earlier), (_, later) in pairwise(firsts)
    )


def test_a_streams_later_answers_are_whole() -> None:
    assert list(islice(lengths(5, 8), 1, 4)) == [(PROMPT_TOKENS, ANSWER_TOKENS)] * 3
