"""What-if of a stand-in engine on a GPU: its forward pass is delayed there, whatever the host does meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.needs import needs_gpu

pytestmark = needs_gpu
MS = 1_000_000


@pytest.mark.parametrize(("host_ns", "device_ns"), [(3 * MS, 8 * MS), (8 * MS, 2 * MS)])
def test_a_delay_on_the_device_counts_but_for_the_time_that_the_device_was_idle(
    tmp_path: Path, host_ns: int, device_ns: int
) -> None:
    pytest.importorskip("psutil"), pytest.importorskip("rich")
    from tests.tracing.whatif.standinengine import STREAMS, stand_in
    from tracing.whatif.answer import WhatIfAnswer
    from tracing.whatif.measurement import Measurement
    from tracing.whatif.stages import stages_named

    with stand_in(tmp_path, host_ns, device_ns, "tests.gpu.cudacore") as engine:
        answer = Measurement(engine, stages_named("work on device"), STREAMS, lambda: True).run(15, 0, print)
    assert isinstance(answer, WhatIfAnswer)
    [forward] = answer.stages
    idle_ns = max(answer.step_ns - forward.time_ns, 0) if host_ns > device_ns else 0
    for size in forward.slope.sizes:
        print(f"delay {size.achieved_ns / MS:.2f} ms of a step of {answer.step_ns / MS:.2f} ms: {size.slope}")
    expected = [max(0.0, size.achieved_ns - idle_ns) / size.achieved_ns for size in forward.slope.sizes]
    assert [size.slope.value for size in forward.slope.sizes] == pytest.approx(expected, abs=0.1)
