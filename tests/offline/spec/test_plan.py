"""What a sweep takes from the machine: the platform that the engine runs on, and the devices that it may use."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from offline.spec import memory, plan
from offline.spec.estimate import READ_S, SPEEDS, estimate, slowness
from offline.spec.grid import Arm
from offline.spec.models import Models
from offline.spec.plan import base_settings, complete
from offline.spec.spec import Spec
from probes.machine import Gpu, fingerprint, platform_text

GIB = 2**30
ONE = Models({"M": "ORG/M"})
GPUS = (Gpu("H100", "580", 80 * GIB, visible=False), Gpu("A10", "580", 24 * GIB))


def test_a_cpu_build_beside_a_gpu_keeps_to_the_cpu() -> None:
    machine = replace(fingerprint(), gpus=GPUS, platform="cpu", cpu_flags=("avx2",))
    spec, _ = complete(Spec(batch_size=(1,)), ONE, machine)
    settings = base_settings(spec, "ORG/M", machine)
    assert (
        settings["enforce_eager"] and settings["dtype"] == "float32" and settings["kv_cache_memory_bytes"] == GIB // 2
    )
    assert spec.block_size == (32, 64, 128)


def test_a_gpu_of_either_vendor_is_no_cpu_and_hidden_ones_do_not_count() -> None:
    for platform, vendor in (("cuda", "nvidia"), ("rocm", "amd")):
        gpus = tuple(replace(gpu, vendor=vendor) for gpu in GPUS)
        machine = replace(fingerprint(), gpus=gpus, platform=platform)
        settings = base_settings(Spec(input_len=(64,), output_len=(16,)), "ORG/M", machine)
        assert not settings["enforce_eager"] and settings["dtype"] == "auto"
        assert settings["kv_cache_memory_bytes"] == 12 * GIB


@pytest.mark.parametrize(("platform", "alive"), [("cuda", 1), ("cpu", 4)])
@pytest.mark.parametrize("eager", [[True], [True, False], [False, True], [False]])
def test_a_gpu_holds_one_engine_at_a_time_whether_it_captures_graphs_or_not(
    platform: str, alive: int, eager: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=2 * GIB + 4 * 3 * GIB))
    machine = replace(fingerprint(), gpus=GPUS, platform=platform, cpu_flags=("avx2",))
    spec, _ = complete(
        Spec(batch_size=(1,), engine={"enforce_eager": eager, "kv_cache_memory_bytes": [GIB]}), ONE, machine
    )
    assert plan.plan(spec, ONE, machine).alive == alive


def test_gpus_of_another_vendor_than_the_platform_do_not_count() -> None:
    small = Gpu("Radeon Graphics", "6.10.5", GIB // 2, vendor="amd")
    machine = replace(fingerprint(), gpus=(*GPUS, small), platform="cuda")
    assert base_settings(Spec(input_len=(64,), output_len=(16,)), "ORG/M", machine)["kv_cache_memory_bytes"] == 12 * GIB


def test_on_a_gpu_one_engine_is_alive_eager_or_not() -> None:
    machine = replace(fingerprint(), gpus=(Gpu("MI300X", "6.10.5", 192 * GIB, "amd"),), platform="rocm")
    spec, _ = complete(Spec(batch_size=(1,), engine={"enforce_eager": [True]}), ONE, machine)
    planned = plan.plan(spec, ONE, machine)
    assert len(planned.grid) > 1 and planned.alive == 1
    text = planned.describe("M", platform_text(machine), [])
    assert "platform       rocm, 1 of 1 GPUs visible: MI300X" in text.splitlines()


def test_the_rounded_length_is_no_longer_than_the_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 1000}))
    spec = Spec(input_len=(960,), output_len=(20,))
    assert base_settings(spec, tmp_path, fingerprint())["max_model_len"] == 1000
    assert base_settings(replace(spec, input_len=(500,)), tmp_path, fingerprint())["max_model_len"] == 640


@pytest.mark.parametrize(
    ("too_long", "left"),
    [
        (0, ((288,), (16,), 3, 2, (32, 64, 128))),
        (1, ((160,), (16,), 3, 2, (32, 64, 128))),
        (2, ((129,), (8,), 3, 2, (32, 64, 128))),
        (3, ((129,), (8,), 2, 2, (32, 64, 128))),
        (4, ((129,), (4,), 2, 2, (32, 64, 128))),
        (5, ((65,), (4,), 2, 3, (32, 64))),
        (6, ((65,), (4,), 2, 2, (32, 64))),
        (7, ((33,), (4,), 2, 6, (32,))),
        (10, ((33,), (4,), 2, 3, (32,))),
        (20, ((33,), (4,), 2, 2, (32,))),
    ],
)
def test_lengths_yield_first_then_trials_then_further_starts_then_block_sizes(
    too_long: int, left: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the time, all batch sizes and the second start stay."""
    machine = replace(fingerprint(), gpus=(), platform="cpu", cpu_flags=("avx2",))
    seconds = iter([3600.0] * too_long + [60.0] * 9)
    monkeypatch.setattr(plan, "_seconds", lambda *_: next(seconds))
    monkeypatch.setattr(plan, "MOST_REPEATS", 0)  # what is left of the time is another test's
    monkeypatch.setattr(plan, "engines_alive", lambda *_: 4)
    spec, _ = complete(Spec(), ONE, machine)
    assert (spec.input_len, spec.output_len, spec.repeats, spec.starts, spec.block_size) == left
    assert spec.batch_size == (1, 4, 8, 16)


@pytest.mark.parametrize(("arms", "starts"), [(1, 2), (2, 6), (3, 4), (4, 3), (5, 3), (6, 2), (12, 2)])
def test_few_arms_are_started_more_often_so_that_their_variance_has_five_degrees_of_freedom(
    arms: int, starts: int
) -> None:
    assert plan.enough_starts(arms) == starts
    assert arms == 1 or (arms - 1) * (starts - 1) >= 5


def test_one_engine_at_a_time_has_its_passes_in_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four arms would have three starts: the third pass would have no reverse in which a drift falls out."""
    machine = replace(fingerprint(), gpus=GPUS, platform="cuda")
    for limit, starts in ((4, 4), (3, 2)):
        monkeypatch.setattr(plan, "_seconds", lambda spec, *_, limit=limit: 60.0 if spec.starts <= limit else 3600.0)
        assert complete(Spec(batch_size=(8,), block_size=(16, 32)), ONE, machine)[0].starts == starts


@pytest.mark.parametrize(("start_s", "starts"), [(1.0, 6), (50.0, 5), (80.0, 3), (200.0, 2)])
def test_where_batch_sizes_are_asked_for_starts_alone_yield_to_the_ten_minutes(
    start_s: float, starts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_seconds", lambda spec, *_: 2 * spec.starts * start_s)
    monkeypatch.setattr(plan, "engines_alive", lambda *_: 2)
    machine = replace(fingerprint(), gpus=(), platform="cpu", cpu_flags=("avx2",))
    spec, note = complete(Spec(batch_size=(8,), block_size=(32,)), ONE, machine)
    assert (spec.starts, spec.input_len, spec.output_len) == (starts, (96,), (16,))
    assert spec.repeats == (3 if start_s == 200.0 else 20)  # of a time that trials take no part of
    assert note is None if starts == 6 else f"starts 6 to {starts}; all of it" in str(note)
    assert complete(Spec(batch_size=(8,), block_size=(32,), starts=4), ONE, machine)[0].starts == 4


@pytest.mark.parametrize(
    ("round_s", "asked", "repeats"),
    [
        (1.0, Spec(), 20),
        (70.0, Spec(), 6),
        (200.0, Spec(), 3),
        (1.0, Spec(starts=4), 3),
        (1.0, Spec(repeats=5), 5),
        (1.0, Spec(prefix_caching=("on",)), 3),
    ],
)
def test_time_that_is_left_goes_into_trials_where_arms_are_compared(
    round_s: float, asked: Spec, repeats: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty at most, and none more where starts or trials were asked for, or where a single arm is measured."""
    monkeypatch.setattr(plan, "_seconds", lambda spec, *_: 100.0 + spec.repeats * round_s)
    machine = replace(fingerprint(), gpus=(), platform="cpu", cpu_flags=("avx2",))
    spec, note = complete(replace(asked, batch_size=(8,), block_size=(32,)), ONE, machine)
    assert spec.repeats == repeats
    assert note is None or "repeats" not in note


def test_what_is_left_after_block_sizes_were_given_up_goes_into_trials_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_seconds", lambda spec, *_: len(spec.block_size) * (200.0 + spec.repeats * 20.0))
    machine = replace(fingerprint(), gpus=(), platform="cpu", cpu_flags=("avx2",))
    spec, note = complete(Spec(), ONE, machine)
    assert (spec.block_size, spec.repeats) == ((32, 64), 3)
    assert note is not None and "block_size 32,64,128 to 32,64" in note and "repeats" not in note


def test_a_machine_whose_kernel_takes_twice_as_long_takes_twice_the_time() -> None:
    machine = replace(fingerprint(), gpus=(), platform="cpu", cpu_flags=("avx2",))
    assert slowness([39_000_000, 78_000_000, 900_000_000]) == 2.0
    spec, _ = complete(Spec(batch_size=(1,)), ONE, machine)
    here, slower = plan.plan(spec, ONE, machine), plan.plan(spec, ONE, machine, slowness=2.0)
    assert (slower.seconds, slower.start_s) == pytest.approx((2 * here.seconds, 2 * here.start_s))
    assert "a machine whose reference kernel takes 78 ms, as here" in slower.describe("m", "cpu", [])


def test_on_a_gpu_only_what_the_cpu_does_is_slower() -> None:
    speed = SPEEDS["gpu"].slower(2.0, on_gpu=True)
    assert (speed.start_s, speed.flops, speed.bandwidth) == (90.0, 2e14, 1e12)


def test_recorded_trials_are_in_the_plan_with_what_they_cost() -> None:
    machine = replace(fingerprint(), gpus=(), platform="cpu", cpu_flags=("avx2",))
    spec, _ = complete(Spec(batch_size=(1, 4), block_size=(32,), starts=2), ONE, machine)
    timed, traced = (plan.plan(each, ONE, machine) for each in (spec, replace(spec, trace=True)))
    assert (timed.traced, traced.traced, traced.trials) == (0, 2 * 6, timed.trials)
    assert traced.seconds > timed.seconds + 12 * READ_S
    assert "recorded       12 more, one of each cell in each start, untimed" in traced.describe("m", "cpu", [])
    assert "recorded" not in timed.describe("m", "cpu", [])


@pytest.mark.parametrize("alive", [1, 2])
def test_of_a_run_that_is_continued_what_is_left_is_estimated(alive: int) -> None:
    machine = replace(fingerprint(), gpus=(), platform="cpu", cpu_flags=("avx2",))
    spec, _ = complete(Spec(batch_size=(1,), block_size=(32, 64), prefix_caching=("off",), starts=2), ONE, machine)
    time = estimate(spec, plan.grid_of(spec, ONE, machine), ONE, machine, alive)
    first, second = ({each for arm in time.grid for each in whole(spec, arm, start)} for start in range(2))
    assert time.left_s(first) == pytest.approx(time.seconds / 2) == time.left_s(second)
    assert time.left_s(first | second) == 0
    one = min(second)
    # One more engine start, and in it a warm-up beside the trial; another trial before it where engines take turns.
    assert time.left_s((first | second) - {one}) == pytest.approx(
        time.speed.start_s + (2 if alive == 1 else 3) * time._cell_s(time.grid[0], time.grid[0].cells[0])
    )
    assert time.left_s(set(), {one}) == time.seconds  # nothing is recorded in this run


def whole(spec: Spec, arm: Arm, start: int) -> set[tuple[str, int]]:
    """All timed trials of an arm in one of its starts."""
    numbers = range(start * spec.repeats, (start + 1) * spec.repeats)
    return {(arm.cell_id(cell), number) for cell in arm.cells for number in numbers}


def test_a_plan_of_one_arm_and_one_cell_counts_in_the_singular() -> None:
    machine = replace(fingerprint(), gpus=(), platform="cpu", cpu_flags=("avx2",))
    asked = Spec(batch_size=(1,), block_size=(32,), prefix_caching=("off",), starts=1, repeats=1)
    lines = plan.plan(complete(asked, ONE, machine)[0], ONE, machine).describe("m", "cpu", []).splitlines()
    assert "arms           1 engine configuration" in lines
    assert "starts         1 engine; one at a time" in lines
    assert "cells          1, warmed up at its own shape, then 1 trial in each start" in lines


def test_what_was_asked_for_does_not_yield(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_seconds", lambda *_: 1e6)
    machine = replace(fingerprint(), gpus=(), platform="cpu", cpu_flags=("avx2",))
    asked = Spec(
        input_len=(100, 300), output_len=(64,), shared_prefix_len=(0,), block_size=(32, 64), repeats=5, starts=4
    )
    assert complete(asked, ONE, machine)[0] == replace(asked, batch_size=(1, 4, 8, 16))


def test_the_plan_says_what_was_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_seconds", lambda spec, *_: 60.0 * sum(spec.input_len))
    machine = replace(fingerprint(), gpus=(), platform="cpu", cpu_flags=("avx2",))
    _, note = complete(Spec(output_len=(8,), repeats=2), ONE, machine)
    assert note == (
        "shortened to save time: input_len 288 to 33, shared_prefix_len 256 to 32, block_size 32,64,128 to 32; all of "
        "it would take some 288 min here (--input-len 288 --shared-prefix-len 256 --block-size 32,64,128)"
    )


def test_more_starts_of_fewer_arms_are_nothing_that_was_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_seconds", lambda spec, *_: 60.0 if len(spec.block_size) < 3 else 3600.0)
    monkeypatch.setattr(plan, "engines_alive", lambda *_: 4)
    machine = replace(fingerprint(), gpus=(), platform="cpu", cpu_flags=("avx2",))
    spec, note = complete(Spec(), ONE, machine)
    assert spec.starts == 3 and note is not None and "starts" not in note
