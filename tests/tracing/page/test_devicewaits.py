"""What the devices waited for, on a terminal: short, with nothing of what says nothing."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

from rich.console import Console

from tracing.breakdown.otherwatchers import GapCause, GpuDevice
from tracing.page.tables import devicewaits

NAMES = ("prepare", "execute", "schedule", "ZMQ", "tokenize", "free", "admit")
CAUSES = tuple(GapCause(name, 10_000 - 1_000 * place) for place, name in enumerate(NAMES))  # 49,000 ns in all
WHOLE = GpuDevice(0, "all", 1_000_000, 951_000, 951_000, 49_000, 7, 49_000, 0, CAUSES)
BUSY = replace(WHOLE, kind="decode", busy_ns=999_600, busy_least_ns=990_000, idle_ns=400, gap_ns=400, causes=())


def shown(*devices: GpuDevice) -> list[str]:
    out = StringIO()
    devicewaits.show(devices, Console(file=out, width=150))
    return out.getvalue().splitlines()


def test_a_device_has_a_line_and_a_row_a_kind_of_step_in_which_it_waited() -> None:
    five = "1.0% prepare, 0.9% execute, 0.8% schedule, 0.7% ZMQ, 0.6% tokenize, 0.9% other"
    mixed = replace(WHOLE, kind="mixed", busy_least_ns=900_000)
    assert shown(WHOLE, BUSY, mixed) == [
        "",
        f"GPU 0 waited 4.9% of the time: {five}",
        "",
        "what a GPU waited for, by kind of step",
        "GPU  step             busy         waited  for",
        f"0    mixed  90.0% to 95.1%  at least 4.9%  {five}",
    ]


def test_where_there_is_no_device_nothing_is_shown() -> None:
    assert shown() == []


def test_a_device_that_did_not_wait_has_no_table() -> None:
    assert shown(replace(WHOLE, gap_ns=0, causes=()), BUSY) == ["", "GPU 0 waited 0.0% of the time"]


def test_the_sentence_of_the_page_has_all_causes() -> None:
    assert devicewaits.sentence(WHOLE).endswith("0.6% tokenize, 0.5% free, 0.4% admit")
