"""Iteration lines as steps."""

from __future__ import annotations

import pytest

from probes.serve.explain.loggedsteps import CANDIDATES, LoggedSteps, step_of
from probes.serve.explain.logline import parse
from tests.probes.serve.explain.lines import parsed, step


def steps_of(*lines: str) -> LoggedSteps:
    steps = LoggedSteps()
    assert all(steps.read(line) for line in parsed(lines))
    return steps


def test_steps_by_kind() -> None:
    steps = steps_of(
        step(0, (2, 600), (0, 0), 40.0),
        step(1, (1, 300), (2, 2), 30.0),
        step(2, (0, 0), (3, 3), 8.0),
        step(3, (0, 0), (3, 3), 9.0),
    )
    counts = {kind: each.count for (_, kind), each in steps.by_kind.items()}
    assert counts == {"prefill": 1, "mixed": 1, "decode": 2}
    assert steps.tokens[0, "mixed"] == 302 and steps.by_batch["decode", 4].quantile(0.5) == 8.0


@pytest.mark.parametrize(
    ("line", "engine"),
    [
        (step(1, (0, 0), (1, 1), 5.0, engine=3), 3),
        ("(EngineCore_DP2 pid=7) INFO 11-26 12:00:01 [core.py:9] Iteration(1): 0 context requests, 0 context tokens, "
         "1 generation requests, 1 generation tokens, iteration elapsed time: 5.00 ms", 2),
        ("(EngineCore_1 pid=7) Iteration(1): 0 context requests, 0 context tokens, 1 generation requests, "
         "1 generation tokens, iteration elapsed time: 5.00 ms", 1),
        ("Iteration(1): 0 context requests, 0 context tokens, 1 generation requests, 1 generation tokens, "
         "iteration elapsed time: 5.00 ms", 0),
    ],
)  # fmt: skip
def test_the_engine_is_the_lines_or_its_process(line: str, engine: int) -> None:
    found = step_of(parse(line))
    assert found is not None and (found.engine, found.kind, found.elapsed_ms) == (engine, "decode", 5.0)


def test_a_dummy_step_is_its_own_kind() -> None:
    line = step(4, (0, 0), (0, 0), 3.0).replace(" ms,", " ms (dummy),")
    found = step_of(parse(line))
    assert found is not None and found.kind == "dummy"


def test_slow_steps_are_slow_for_their_kind_and_batch_size() -> None:
    usual = [step(number, (0, 0), (1, 1), 5.0) for number in range(20)]
    large = [step(20 + number, (0, 0), (64, 64), 50.0) for number in range(20)]
    steps = steps_of(*usual, *large, step(99, (0, 0), (1, 1), 20.0, engine=1))
    ((slow, factor),) = steps.slow()
    assert (slow.engine, slow.iteration, factor) == (1, 99, 4.0) and steps.slow_count() == 1


def test_few_candidates_are_kept_and_all_are_counted() -> None:
    usual = [step(number, (0, 0), (1, 1), 5.0) for number in range(100)]
    steps = steps_of(*usual, *(step(100 + number, (0, 0), (1, 1), 50.0 + number) for number in range(40)))
    assert [slow.elapsed_ms for slow, _ in steps.slow()] == [89.0, 88.0, 87.0, 86.0, 85.0][:CANDIDATES]
    assert steps.slow_count() == 40


def test_other_lines_are_no_steps() -> None:
    assert not LoggedSteps().read(parse("Iteration(1): of something else"))
