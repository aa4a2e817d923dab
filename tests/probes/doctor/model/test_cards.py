"""Cards as the drivers' programs tell of them: which are free, by which numbers, and who holds the others."""

from __future__ import annotations

from typing import Any

import pytest

from probes.devices.device import Activity, Device
from probes.doctor.model.cards import SeenCard, cards, choice_line, chosen
from probes.doctor.model.findings import card as told
from probes.doctor.surroundings import Process

GIB = 2**30
H100 = "NVIDIA H100 80GB HBM3"


def device(index: int, used_gib: float | None = 0.0, **fields: Any) -> Device:
    used = None if used_gib is None else int(used_gib * GIB)
    known: dict[str, Any] = {"vendor": "nvidia", "name": H100, "total_bytes": 80 * GIB, "uuid": f"GPU-{index:08d}"}
    return Device(index=index, used_bytes=used, **(known | fields))


def busy(percent: float) -> Activity:
    return Activity(utilization_percent=percent)


EIGHT = [
    device(0, 70, holders={41: 69 * GIB}),
    device(1, 70, holders={42: None}),
    device(2, 0, activity=busy(95)),
    device(3, None),
    *(device(index) for index in (4, 5, 6, 7)),
]
PROCESSES = [Process(41, 1, "/opt/venv/bin/python serve.py --api-key secret")]


def states(of: list[SeenCard]) -> list[str]:
    return [each.state for each in of]


def test_who_holds_a_card_and_which_are_free() -> None:
    of = cards(EIGHT, {}, PROCESSES)
    assert states(of) == ["taken", "taken", "busy", "memory not reported", *["free"] * 4]
    assert told(of[0]).detail == (
        f"taken: {H100}, number 0 here, 10.00 GiB of 80.00 GiB free, utilization unknown; "
        "held by python (process 41, 69.0 GiB)"
    )
    assert of[1].holders == ("process 42 (not seen here: another container's or user's)",)
    assert "95 % busy" in told(of[2]).detail and told(of[2]).status == "note"
    assert told(of[4]).status == "ok"


def test_the_line_to_paste() -> None:
    of = cards(EIGHT, {}, [])
    assert choice_line(of, chosen(of, 2), {}) == "CUDA_VISIBLE_DEVICES=4,5"
    assert chosen(of, 5) == []


def test_a_card_with_a_desktop_is_free_and_comes_last() -> None:
    of = cards([device(0, 0.4), device(1, 0)], {}, [])
    assert states(of) == ["free", "free"]
    assert [each.device.index for each in chosen(of, 1)] == [1]


def test_only_cards_that_this_environment_shows() -> None:
    of = cards(EIGHT, {"CUDA_VISIBLE_DEVICES": "6,0,5"}, [])
    assert [each.visible_number for each in of] == [1, None, None, None, None, 2, 0, None]
    assert told(of[4]).detail == f"hidden: {H100}, 80.00 GiB of 80.00 GiB free, utilization unknown"
    # The driver's numbers, not the visible ones.
    assert choice_line(of, chosen(of, 2), {}) == "CUDA_VISIBLE_DEVICES=5,6"


def test_unlike_cards_are_never_mixed_and_are_numbered_by_place() -> None:
    of = cards([device(0, name="L4", total_bytes=22 * GIB), device(1), device(2)], {}, [])
    assert choice_line(of, chosen(of, 2), {}) == "CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=1,2"
    assert chosen(of, 3) == []


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({}, "HIP_VISIBLE_DEVICES=2,3"),
        ({"ROCR_VISIBLE_DEVICES": "1,2,3"}, "HIP_VISIBLE_DEVICES=1,2"),
        ({"ROCR_VISIBLE_DEVICES": "1,2,3", "HIP_VISIBLE_DEVICES": "2,1,0"}, "HIP_VISIBLE_DEVICES=1,2"),
    ],
)
def test_amds_variables_count_one_after_the_other(environ: dict[str, str], line: str) -> None:
    of = cards([device(index, 60 if index < 2 else 0, vendor="amd", name="MI300X") for index in range(4)], environ, [])
    assert choice_line(of, chosen(of, 2), environ) == line
