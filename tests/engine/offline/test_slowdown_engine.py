"""A slow-down planted in a copy of vLLM, on the real engine: which stage it is put down to, and which function."""

from __future__ import annotations

import pytest

from offline.page.reported import ReportedRun, reported_run
from probes.checkpoint import two_layer_model
from tests.engine.recording import FORKED
from tests.offline.environments.slowcopy import slow_copy
from tests.offline.sweep.sweeping import only_run, run

pytestmark = [pytest.mark.engine, pytest.mark.slow(150)]
SLEEP, SLEEP_NS = "time.sleep(0.002)", 2_000_000
STEPS = 24
GRID = ("--load-format", "dummy", "--batch-size", "1", "--block-size", "32", "--prefix-caching", "off")
GRID += ("--cache-state", "cold", "--input-len", "8", "--shared-prefix-len", "0", "--output-len", str(STEPS))
GRID += ("--repeats", "2", "--starts", "2")


@pytest.fixture(scope="module")
def slowed(tmp_path_factory: pytest.TempPathFactory) -> ReportedRun:
    """A traced sweep of the installed vLLM and of that copy, two starts each, in turns."""
    out, copy = tmp_path_factory.mktemp("slowed"), slow_copy(tmp_path_factory.mktemp("copies") / "slow", SLEEP)
    words = ("--model", str(two_layer_model()), *GRID, "--vllm", f"installed,{copy}", "--trace")
    code, text = run(out, *words, **FORKED)
    assert code == 0, text
    return reported_run(only_run(out))


def test_a_planted_slow_down_is_put_down_to_its_stage_and_its_function(slowed: ReportedRun) -> None:
    first = slowed.changed_stages[0]
    assert first.change.stage == "schedule" and first.change.grew
    assert first.functions is not None
    assert [function.target for function in first.functions] == ["vllm.v1.core.sched.scheduler:Scheduler.schedule"]
    before, after = first.functions[0].before, first.functions[0].after
    assert before is not None and after is not None
    assert [line.strip() for line in set(after.lines()) - set(before.lines())] == [SLEEP]
    assert first.change.change_ns > STEPS * SLEEP_NS  # a timer rounds up
    print(f"\n{first.sentence}")
