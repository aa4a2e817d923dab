"""What a real GPU left: a profile of torch, and stacks of programs that a kernel without end holds up (an H200).

The programs are three lines each: a batch of four prompts and three tokens on the two-layer model in bfloat16, by plain
torch, and `torch.cuda._sleep` followed by `.tolist()`, or by a first launch of another kernel.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tracing.hang import frames
from tracing.hang.texts import dumptext
from tracing.torchsums import trace

RECORDED = Path(__file__).with_name("recorded")


def test_the_sums_of_a_gpus_profile_are_those_that_torch_prints() -> None:
    events = list(trace.events(RECORDED / "h200-generate.json.gz", 0))
    assert Counter(event.kind for event in events) == {"operator": 1325, "launch": 376, "kernel": 322, "copy": 10}
    on_device = [event for event in events if event.kind in ("kernel", "copy")]
    assert sum(event.end_ns - event.start_ns for event in on_device) == 584_646  # "Self CUDA time total: 584.646us"
    products = [event for event in on_device if event.name == "nvjet_sm90_tst_8x64_64x16_4x1_v_bz_TNN"]
    assert (len(products), sum(event.end_ns - event.start_ns for event in products)) == (28, 58_977)
    launches = {event.correlation for event in events if event.kind == "launch"}
    assert all(event.correlation in launches for event in on_device)


@pytest.mark.parametrize(
    ("name", "function", "native"), [("tolist", "wait", "cuMemcpyDtoH"), ("launch", "run_worker", "cuLaunchKernel")]
)
def test_a_thread_that_a_device_holds_up_is_known_by_its_functions_of_c(name: str, function: str, native: str) -> None:
    (process,) = dumptext.read_files([RECORDED / f"h200-{name}.txt"]).dumps
    thread = process.main
    assert thread is not None and thread.python[-1].name == function
    kinds = [(frame.name, kind) for frame in thread.native if (kind := frames.native_kind(frame))]
    assert kinds[-1][0].startswith(native) and kinds[-1][1] == frames.DEVICE
