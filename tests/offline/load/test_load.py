"""The load command on variants that only keep time: a whole run, refusals, deaths, Ctrl-C, a kill, and what is left."""

from __future__ import annotations

import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from offline.load.folder import read_load_run, read_rates, read_requests, read_start, read_steps, start_folders
from offline.load.planning.schedule import read_schedule
from offline.traffic.knee import short_requests
from tests.needs import needs_vllm
from tests.offline.load.loading import only_run, processes_of, run, small, start
from tests.shells import until

pytestmark = [needs_vllm, pytest.mark.slow(200)]  # the default model's tokenizer comes with its set

QUICK = """
[fast]
kind = "torch"
settings = {token_s = 0.0005}
[slow]
kind = "torch"
settings = {token_s = 0.001, dtype = "bfloat16", steps_lost = 7}
"""
FAST = '[fast]\nkind = "torch"\nsettings = {token_s = 0.0005}\n'


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of two variants at two rates, two starts each."""
    out = tmp_path_factory.mktemp("whole")
    code, text = run(out, *small("--rates", "10,20", "--starts", "2"), variants=QUICK)
    assert code == 0, text
    return only_run(out), text


def test_every_request_of_every_schedule_is_recorded_in_every_start(whole: tuple[Path, str]) -> None:
    folder, text = whole
    assert [f.name for f in start_folders(folder)] == ["fast-1", "fast-2", "slow-1", "slow-2"]
    for path in start_folders(folder):
        counts = Counter(request.rate_req_s for request in read_requests(path))
        for rate in read_rates(path):
            assert rate.sent == counts[rate.rate_req_s] == rate.finished
            if rate.rate_req_s:
                plan = read_schedule(folder / "schedules" / f"{rate.rate_req_s:g}.jsonl")
                assert rate.sent == rate.scheduled == len(plan.requests)
        assert {rate.rate_req_s for rate in read_rates(path)} == {None, 10.0, 20.0}
    assert text.splitlines()[-1] == f"Wrote {folder}"


def test_a_start_that_has_ended_is_compressed_and_says_what_it_resolved(whole: tuple[Path, str]) -> None:
    path = start_folders(whole[0])[2]
    names = sorted(file.name for file in path.iterdir())
    assert names == [
        "configuration.json",
        "log.txt",
        "rates.jsonl",
        "requests.jsonl.zst",
        "sender.txt",
        "steps.jsonl.zst",
    ]
    start = read_start(path)
    assert (start.variant, start.start, start.state, start.settings["token_s"]) == ("slow", 1, "complete", 0.001)
    assert start.resolved is not None and start.resolved.dtype == "bfloat16"
    assert [step.tokens for step in read_steps(path)] == [4, 4, 4]
    assert [rate.steps_lost for rate in read_rates(path)] == [7, 7, 7]


def test_requests_are_the_same_for_all_variants_and_their_times_are_in_order(whole: tuple[Path, str]) -> None:
    prompts = {}
    for path in start_folders(whole[0]):
        requests = {(r.rate_req_s, r.request): r for r in read_requests(path) if r.rate_req_s}
        prompts[path.name] = {key: (r.prompt_tokens, sum(r.tokens)) for key, r in requests.items()}
        assert all(r.scheduled_ns <= r.sent_ns <= r.token_ns[0] <= r.token_ns[-1] for r in requests.values())
    assert len({frozenset(each.items()) for each in prompts.values()}) == 1


def test_the_run_says_where_its_lengths_come_from(whole: tuple[Path, str]) -> None:
    record = read_load_run(whole[0])
    assert record.synthetic and record.workload.startswith("alpaca (synthetic: mean lengths of the Alpaca set")
    assert record.state == "complete" and record.workload in whole[1]
    index = (whole[0].parents[2] / "README.md").read_text()
    [line] = [line for line in index.splitlines() if f"(two-layer/load/{whole[0].name}/table.md) |" in line]
    assert " | two-layer | fast, slow | " in line and " | complete | " in line


def test_a_refused_variant_is_not_tried_again_and_holds_up_no_other(tmp_path: Path) -> None:
    refusing = '[no]\nkind = "torch"\nsettings = {refuses = "no room for that"}\n[yes]\nkind = "torch"\n'
    code, text = run(tmp_path, *small("--rates", "20"), variants=refusing)
    assert code == 3 and "refused: no, start 1: ValueError: no room for that" in text
    states = {path.name: read_start(path).state for path in start_folders(only_run(tmp_path))}
    assert states == {"no-1": "refused", "yes-1": "complete"}


def test_a_variant_that_dies_is_tried_once_more(tmp_path: Path) -> None:
    code, text = run(tmp_path, *small("--rates", "20"), variants='[dying]\nkind = "torch"\nsettings = {dies_at = 12}\n')
    assert code == 3 and text.count("failed: dying, start") == 2 and "Traceback" not in text
    folder = only_run(tmp_path)
    assert [read_start(path).state for path in start_folders(folder)] == ["failed", "failed"]
    assert "died (exit code -9)" in (read_start(start_folders(folder)[0]).reason or "")
    assert sum(1 for _ in read_requests(start_folders(folder)[0])) == 3  # of the eight before them, warmed up
    assert processes_of(tmp_path) == []


def test_a_core_that_is_gone_is_told_in_its_words(tmp_path: Path) -> None:
    code, text = run(
        tmp_path, *small("--rates", "20"), variants='[dying]\nkind = "torch"\nsettings = {raises_at = 12}\n'
    )
    assert code == 3 and "failed: dying, start 1: RuntimeError: the core is gone" in text


def test_a_variant_that_hangs_is_killed(tmp_path: Path) -> None:
    hanging = '[hanging]\nkind = "torch"\nsettings = {hangs_at = 12}\n'
    code, text = run(tmp_path, *small("--rates", "20"), variants=hanging, FAKE_SLACK_S="1")
    assert code == 3 and "failed: hanging, start 1: no answer within 7 s; killed" in text
    assert processes_of(tmp_path) == []


def test_ctrl_c_and_resume(tmp_path: Path) -> None:
    words = small("--rates", "10,20", "--starts", "1")
    process = start(tmp_path, *words, variants=QUICK)
    # In the first of two starts: this process may be late by seconds where others have the processors.
    until(lambda: list(tmp_path.glob("*/load/*/starts/*/rates.jsonl")))
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=120)
    folder = only_run(tmp_path)
    assert process.returncode == 130 and f"to continue: python -m offline.load --resume {folder}" in text
    before = {path: {rate.rate_req_s for rate in read_rates(path)} for path in start_folders(folder)}
    assert "interrupted" in {read_start(path).state for path in before} and processes_of(tmp_path) == []

    code, text = run(tmp_path, "--resume", str(folder))
    assert code == 0, text
    levels = [(rate.variant, rate.rate_req_s) for path in start_folders(folder) for rate in read_rates(path)]
    assert Counter(levels) == {(name, rate): 1 for name in ("fast", "slow") for rate in (None, 10.0, 20.0)}
    for path, rates in before.items():
        assert {rate.rate_req_s for rate in read_rates(path)} == rates
    assert read_load_run(folder).state == "complete"


@pytest.mark.parametrize("delay_s", [0.0, 0.3])
def test_an_interrupt_from_the_first_moment_of_the_folder_says_how_to_continue(tmp_path: Path, delay_s: float) -> None:
    process = start(tmp_path, *small("--rates", "10"), variants=QUICK)
    until(lambda: list(tmp_path.glob("*/load/*/run.json")))
    time.sleep(delay_s)
    process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=120)
    folder = only_run(tmp_path)
    assert process.returncode == 130 and processes_of(tmp_path) == []
    assert f"interrupted; to continue: python -m offline.load --resume {folder}" in text
    assert read_load_run(folder).state == "interrupted"
    code, text = run(tmp_path, "--resume", str(folder))
    assert code == 0, text


def test_a_killed_command_leaves_nothing_running_and_is_resumed(tmp_path: Path) -> None:
    process = start(tmp_path, *small("--rates", "10"), variants=QUICK)
    until(lambda: list(tmp_path.glob("*/load/*/starts/fast-1/requests.jsonl")))
    process.kill()
    process.communicate(timeout=120)
    until(lambda: not processes_of(tmp_path))
    code, text = run(tmp_path, "--resume")
    assert code == 0, text
    states = [read_start(path).state for path in start_folders(only_run(tmp_path))]
    assert states == ["interrupted", "complete", "complete"]


def test_the_budget_leaves_out_what_it_has_no_time_for(tmp_path: Path) -> None:
    code, text = run(tmp_path, *small("--rates", "10", "--starts", "9", "--budget", "30s"), variants=FAST)
    assert code == 0 and "left out of a start: the budget is spent" in text
    notes = read_load_run(only_run(tmp_path)).notes
    assert "fast at one at a time, 10 requests/s left out of a start: the budget is spent" in notes


def test_a_search_for_the_knee_tries_rates_until_its_budget_is_spent(tmp_path: Path) -> None:
    # 70 at a time, 30 tokens each of 10 ms or more: at most 230 requests/s on any machine, and the two trials
    # of 1,800 requests that a bracket takes at least do not fit the budget.
    words = small("--knee", "--rates", "300", "--budget", "22s")
    code, text = run(tmp_path, *words, variants=FAST.replace("0.0005", "0.01, slots = 70"))
    assert code == 0, text
    folder = only_run(tmp_path)
    rates = [rate.rate_req_s for rate in read_rates(start_folders(folder)[0])]
    assert rates[:2] == [None, 300.0]
    (plan,) = (folder / "schedules").glob("300-*.jsonl")
    assert len(read_schedule(plan).requests) > 400
    note = read_load_run(folder).notes[-1]
    [(bracket, requests)] = re.findall(r"^fast, start 1: (.*); no time was left for ([\d,]+) requests at [\d.]+", note)
    assert bracket == "no rate was found to be sustained; 300 req/s was not"
    assert int(requests.replace(",", "")) >= short_requests(1.0)


def test_starts_on_two_cards_run_at_the_same_time_each_with_a_card_of_its_own(tmp_path: Path) -> None:
    code, text = run(tmp_path, *small("--rates", "10", "--starts", "2"), variants=QUICK, FAKE_CARDS="A,B")
    assert code == 0, text
    folders = start_folders(only_run(tmp_path))
    starts = [read_start(path) for path in folders]
    assert [start.state for start in starts] == ["complete"] * 4
    assert {start.card for start in starts} == {"A", "B"}
    assert all(start.resolved and start.resolved.device == start.card for start in starts)
    rates = {path.name: read_rates(path) for path in folders}
    assert all({rate.rate_req_s for rate in levels} == {None, 10.0} for levels in rates.values())
    first, second = rates["fast-1"], rates["slow-1"]
    assert first[0].begin_ns < second[-1].closed_ns and second[0].begin_ns < first[-1].closed_ns


def test_an_interrupt_ends_the_starts_on_all_cards_and_the_run_is_continued(tmp_path: Path) -> None:
    process = start(tmp_path, *small("--rates", "10", "--starts", "2"), variants=QUICK, FAKE_CARDS="A,B")
    until(lambda: len(list(tmp_path.glob("*/load/*/starts/*/requests.jsonl"))) == 2)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=120)
    folder = only_run(tmp_path)
    assert process.returncode == 130 and "to continue" in text and processes_of(tmp_path) == []
    assert [read_start(path).state for path in start_folders(folder)] == ["interrupted", "interrupted"]
    code, text = run(tmp_path, "--resume", str(folder), FAKE_CARDS="A,B")
    assert code == 0, text
    levels = Counter((rate.variant, rate.rate_req_s) for f in start_folders(folder) for rate in read_rates(f))
    assert levels == {(name, rate): 2 for name in ("fast", "slow") for rate in (None, 10.0)}


def test_schedules_of_another_run_are_replayed(whole: tuple[Path, str], tmp_path: Path) -> None:
    schedules = whole[0] / "schedules"
    words = small("--rates", "20", "--schedules", str(schedules), "--duration", "9s", "--seed", "4")
    code, text = run(tmp_path, *words, variants=QUICK)
    assert code == 0, text
    record = read_load_run(only_run(tmp_path))
    assert (record.spec.duration_s, record.spec.seed) == (1.0, 0)  # as they were made, whatever is asked for
    assert record.workload == "alpaca (schedules of another run)"
    again = read_schedule(only_run(tmp_path) / "schedules" / "20.jsonl")
    assert again == read_schedule(schedules / "20.jsonl")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--rates takes rates above 0, not none"),
        (("--rates", "0"), "--rates takes rates above 0, not 0.0"),
        (("--rates", "1,1"), "--rates names one twice: 1, 1"),
        (("--rates", "1", "--workload", "nothing"), "error: workload nothing: no such file, and not one of alpaca"),
        (("--rates", "1", "--duration", "1day"), "expected a time such as 90s, 10min or 4h"),
        (("--rates", "1", "--base-url", "http://x", "--variants", "a"), "--base-url is one server"),
        (("--rates", "1", "--budget", "5s"), "one start of each variant takes some"),
        (
            ("--rates", "1", "--schedules", "/no/such/path"),
            "cannot read the schedule /no/such/path/one-at-a-time.jsonl",
        ),
    ],
)
def test_what_cannot_be_run_is_one_line_and_leaves_no_folder(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    code, text = run(tmp_path, *words)
    assert (code, len(text.splitlines())) == (2, 1) and message in text
    assert not list(tmp_path.glob("*/load"))
