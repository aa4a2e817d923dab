"""A standing engine is measured as a whole: real processes, rings, delays and blocks, with a stand-in for vLLM."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes.errors import EnginescopeError
from tests.tracing.traces import TraceWriter, process_file
from tests.tracing.whatif.loads.simulatedengine import SimulatedEngine
from tests.tracing.whatif.loads.simulatedrecords import CORE
from tests.tracing.whatif.standinengine import MS, STREAMS, stand_in
from tracing.events.delays import FILE, NO_SITE, RECORD
from tracing.sites.engine import CODES
from tracing.whatif.answer import WhatIfAnswer
from tracing.whatif.measurement import Measurement, has_device, nested_in, present
from tracing.whatif.stages import asleep, stages_named


def test_the_host_pays_and_the_front_end_is_hidden(tmp_path: Path) -> None:
    """The core works for 6 ms, the device for 1 ms, and the front end for less: only the core's time counts.

    Delays are asleep: one that spins would take a processor from the other process.
    """
    lines: list[str] = []
    with stand_in(tmp_path, host_ns=6 * MS, device_ns=MS) as engine:
        chosen = [asleep(stage) for stage in stages_named("schedule,process outputs")]
        answer = Measurement(engine, chosen, STREAMS, lambda: True).run(10, 0, lines.append)
        assert isinstance(answer, WhatIfAnswer)
        assert RECORD.unpack((engine.folder / FILE).read_bytes())[4] == NO_SITE  # nothing is asked for any more
    schedule, outputs = answer.stages
    assert schedule.pays and schedule.slope.slope.value > 0.5 > outputs.slope.slope.value
    assert answer.step_ns > 6 * MS and schedule.calls_per_step == outputs.calls_per_step == 1
    assert answer.first_line().startswith("schedule pays most: ")
    assert len(lines) == 1 and "2 delays" in lines[0]


@pytest.mark.parametrize(("host_ns", "hidden_ns"), [(2 * MS, 6 * MS), (5 * MS, 3 * MS)])
def test_a_device_hides_what_it_takes_more_than_the_host(tmp_path: Path, host_ns: int, hidden_ns: int) -> None:
    """Beside a device of 8 ms: of a delay only what goes beyond that counts. The tolerance is a busy machine's."""
    with stand_in(tmp_path, host_ns, device_ns=8 * MS) as engine:
        chosen = [asleep(stage) for stage in stages_named("schedule")]
        answer = Measurement(engine, chosen, STREAMS, lambda: True).run(10, 0, lambda words: None)
    assert isinstance(answer, WhatIfAnswer)
    sizes = answer.stages[0].slope.sizes
    expected = [max(0.0, size.achieved_ns - hidden_ns) / size.achieved_ns for size in sizes]
    assert [size.slope.value for size in sizes] == pytest.approx(expected, abs=0.3)


@pytest.mark.parametrize(("host_ns", "device_ns"), [(3 * MS, 8 * MS), (8 * MS, 2 * MS)])
def test_a_delay_on_the_device_counts_but_for_the_time_that_the_device_was_idle(
    tmp_path: Path, host_ns: int, device_ns: int
) -> None:
    """The tolerance is a busy machine's."""
    with stand_in(tmp_path, host_ns, device_ns) as engine:
        answer = Measurement(engine, stages_named("work on device"), STREAMS, lambda: True).run(6, 0, print)
    assert isinstance(answer, WhatIfAnswer)
    [forward] = answer.stages
    assert forward.time_ns == pytest.approx(device_ns, rel=0.2)
    idle_ns = max(host_ns - device_ns, 0)
    expected = [max(0.0, size.achieved_ns - idle_ns) / size.achieved_ns for size in forward.slope.sizes]
    assert [size.slope.value for size in forward.slope.sizes] == pytest.approx(expected, abs=0.3)


def test_a_stage_that_holds_another_is_in_the_answer(tmp_path: Path) -> None:
    with stand_in(tmp_path, host_ns=6 * MS, device_ns=MS) as engine:
        stages = [asleep(stage) for stage in stages_named("execute,forward")]
        answer = Measurement(engine, stages, STREAMS, lambda: True).run(6, 0, print)
    assert answer.nested == ("execute holds forward: what they buy does not add up",)


def test_an_engine_without_load_is_not_measured(tmp_path: Path) -> None:
    with stand_in(tmp_path, host_ns=6 * MS, device_ns=MS) as engine:
        alone = Measurement(engine, stages_named("schedule"), 1, lambda: True, patience_s=1)
        with pytest.raises(EnginescopeError, match="did not decode 1 streams at a time within 1 s"):
            alone.run(10, 0, lambda words: None)


def test_an_engine_that_ends_is_said_to(tmp_path: Path) -> None:
    with stand_in(tmp_path, host_ns=6 * MS, device_ns=MS) as engine:
        ended = Measurement(engine, stages_named("schedule"), STREAMS, lambda: False)
        with pytest.raises(EnginescopeError, match="the engine ended while it was measured"):
            ended.run(10, 0, lambda words: None)


def test_a_stage_that_the_engine_does_not_have_is_said(tmp_path: Path) -> None:
    with stand_in(tmp_path, host_ns=6 * MS, device_ns=MS) as engine:
        absent = Measurement(engine, stages_named("prepare"), STREAMS, lambda: True)
        with pytest.raises(EnginescopeError, match="prepare is not called in this engine's steps"):
            absent.run(10, 0, lambda words: None)


def test_without_a_device_nothing_is_delayed_there(tmp_path: Path) -> None:
    simulated, lines = SimulatedEngine(3 * MS, MS, MS), list[str]()
    [look] = simulated.run([None], 400 * MS)
    stages = stages_named("schedule,work on device")
    assert present(stages, look, simulated.recorded(), tmp_path, lines.append) == stages[:1]
    assert lines == ["work on device: this engine has no device whose time is known"]
    with pytest.raises(EnginescopeError, match="work on device: this engine has no device"):
        present(stages[1:], look, simulated.recorded(), tmp_path, lines.append)


def test_where_a_device_cannot_be_timed_nothing_is_delayed_there(tmp_path: Path) -> None:
    """Its events failed, say, or are not CUDA's."""
    TraceWriter(tmp_path, 12, ["worker"]).close(device="xpu")
    assert has_device(tmp_path)
    process_file(tmp_path, 12, device="xpu", missing=["device time (RuntimeError: no events)"])
    assert not has_device(tmp_path)


@pytest.mark.parametrize(("worker", "holders"), [(CORE, ["dispatch", "execute"]), (3, ["execute"])])
def test_dispatch_holds_the_worker_only_where_that_is_in_the_core(worker: int, holders: list[str]) -> None:
    simulated, forward = SimulatedEngine(3 * MS, MS, MS), CODES["model.forward"]
    [look] = simulated.run([None], 400 * MS)
    called = [row for row in simulated.rows[CORE] if row[7] == forward]
    simulated.rows[CORE] = [row for row in simulated.rows[CORE] if row[7] != forward]
    simulated.rows.setdefault(worker, []).extend(called)
    simulated.span(CORE, "executor.dispatch", 10 * MS, 11 * MS, 3)
    simulated.span(worker, "worker.execute", 10 * MS, 11 * MS, 3)
    lines = nested_in(stages_named("schedule,dispatch,execute,forward"), look, simulated.recorded())
    assert [line.partition(" holds ")[0] for line in lines] == holders


@pytest.mark.parametrize("site", ["model.forward", "runner.forward", "graph.run"])
def test_forward_is_delayed_at_the_site_that_the_steps_call(tmp_path: Path, site: str) -> None:
    """Who runs a whole CUDA graph does not call the model in it, but in a step with a prefill."""
    simulated = SimulatedEngine(3 * MS, MS, MS)
    [look] = simulated.run([None], 400 * MS)
    forward, code = stages_named("forward")[0], CODES["model.forward"]
    simulated.rows[CORE] = [
        (*row[:7], CODES[site] if row[7] == code else row[7], row[8]) for row in simulated.rows[CORE]
    ]
    simulated.span(CORE, "model.forward", 10 * MS, 11 * MS, 3)
    assert present([forward], look, simulated.recorded(), tmp_path, print)[0].site == site
