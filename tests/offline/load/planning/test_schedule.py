"""A schedule is made once and replayed: the file gives back what was written, and not to another model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from offline.load.planning.schedule import (
    Schedule,
    ScheduleHead,
    make_schedule,
    read_schedule,
    refuse_other_model,
    write_schedule,
)
from offline.variants.serving import ScheduledRequest
from offline.workload.items import Item
from probes.errors import EnginescopeError

HEAD = ScheduleHead("m", "abc", 2000, "poisson", 2.0, 10.0, 1.0, 7, "two", True)
ITEMS = [
    Item(6, 4, prefix="system", prefix_tokens=4),
    Item(5, 2, prefix="system", prefix_tokens=4, sampling={"temperature": 0.5}),
    Item(3, 1, prompt_token_ids=(5, 6, 7)),
]


def test_a_schedule_joins_times_and_items() -> None:
    first, second, third = make_schedule(HEAD, [0.5, 0.75, 3.0], ITEMS).requests
    assert first.prompt_token_ids[:4] == second.prompt_token_ids[:4]
    assert (len(first.prompt_token_ids), len(second.prompt_token_ids)) == (6, 5)
    assert first.prompt_token_ids[4] != second.prompt_token_ids[4]
    assert third == ScheduledRequest(2, 3.0, (5, 6, 7), 1, {})
    assert [request.at_s for request in (first, second)] == [0.5, 0.75]


def test_token_ids_come_from_the_seed_and_bodies_differ_between_rates() -> None:
    schedule = make_schedule(HEAD, [0.5], ITEMS)
    assert schedule == make_schedule(HEAD, [0.5], ITEMS)
    other = make_schedule(replace(HEAD, rate_req_s=3.0), [0.5], ITEMS).requests[0].prompt_token_ids
    assert other[:4] == schedule.requests[0].prompt_token_ids[:4] != other[2:]
    assert other[4:] != schedule.requests[0].prompt_token_ids[4:]


def test_a_longer_part_of_a_prefix_begins_with_the_shorter_one() -> None:
    items = [Item(4, 1, prefix="system", prefix_tokens=4), Item(9, 1, prefix="system", prefix_tokens=9)]
    short, long = make_schedule(HEAD, [0.5, 0.75], items).requests
    assert long.prompt_token_ids[:4] == short.prompt_token_ids


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    schedule = make_schedule(HEAD, [0.5, 0.75, 3.0], ITEMS)
    path = tmp_path / f"{schedule.name}.jsonl"
    write_schedule(path, schedule)
    assert path.name == "2.jsonl" and read_schedule(path) == schedule
    assert schedule.longest == 10


def test_the_names_of_schedules() -> None:
    assert Schedule(replace(HEAD, rate_req_s=None), ()).name == "one-at-a-time"
    assert Schedule(replace(HEAD, rate_req_s=0.25), ()).name == "0.25"


def test_a_schedule_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnginescopeError, match=r"2\.jsonl was made for m, whose tokenizer is not that of n"):
        refuse_other_model(Schedule(HEAD, ()), tmp_path / "2.jsonl", "n", "def")
    refuse_other_model(Schedule(HEAD, ()), tmp_path / "2.jsonl", "n", "abc")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a whole schedule"),
        ('{"schema": 9}\n', "has schema 9"),
        ('{"schema": 1}\n', "no key 'arrivals'"),
        ("[1]\n", "not a whole schedule"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "2.jsonl"
    path.write_text(text)
    with pytest.raises(EnginescopeError, match=words):
        read_schedule(path)


def test_times_that_go_back_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "2.jsonl"
    write_schedule(path, make_schedule(HEAD, [0.5, 0.75, 3.0], ITEMS))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[2], lines[1]]))
    assert json.loads(lines[2])["at_s"] == 0.75
    with pytest.raises(EnginescopeError, match="its times go back"):
        read_schedule(path)
