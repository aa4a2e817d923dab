"""Workloads out of files of prompts: what is read, what is counted, what is one clear line, the cache."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from offline.workload.files import cached_prompts, read_prompts, read_workload, remarks
from offline.workload.items import Item
from offline.workload.source import WorkloadSource, read_items, write_items
from probes.errors import EnginescopeError


class Letters:
    """A tokenizer with a token a letter, and one around each conversation."""

    def ids(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def chat_ids(self, messages: list[object]) -> list[int]:
        return [1, *self.ids("".join(message["content"] for message in messages))]  # type: ignore[index]

    def answer_tokens(self, text: str) -> int:
        return len(text)


def item(text: str, output_tokens: int, **sampling: float) -> Item:
    return Item(len(text), output_tokens, sampling=sampling, prompt_token_ids=tuple(map(ord, text)))


ASSUMED = ("1 entries name no output length: it is assumed",)
SHAREGPT = [
    {"id": "1", "conversations": [{"from": "human", "value": "hello"}, {"from": "gpt", "value": "hey"}]},
    {"id": "2", "conversations": [{"from": "gpt", "value": "nobody asked"}]},
    {"id": "3", "conversations": [{"from": "human", "value": "and?"}]},
    {"id": "4", "conversations": "broken"},
]


def test_sharegpt_has_the_first_question_and_its_answer(tmp_path: Path) -> None:
    path = tmp_path / "sharegpt.json"
    path.write_text(json.dumps(SHAREGPT))
    file = read_prompts(path, Letters(), 64)
    assert file.items == (item("hello", 3), item("and?", 64))
    assert remarks(file) == [
        "2 of 4 entries left out: 1 times asks nothing; 1 times `conversations` must be a list of turns, each with "
        "`from` and `value`",
        *ASSUMED,
    ]


def test_a_line_that_is_no_json_is_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "one", "max_tokens": 9}\n{"prompt": "tw\n{"prompt": "three", "max_tokens": 2}\n')
    file = read_prompts(path, Letters(), 64)
    assert file.items == (item("one", 9), item("three", 2))
    [left_out] = remarks(file)
    assert left_out.startswith("1 of 3 entries left out: 1 times not a whole JSON object (Unterminated string")


@pytest.mark.parametrize(
    ("name", "text", "items"),
    [
        ("alpaca.json", '[{"instruction": "add", "input": "1 2", "output": "three"}]', (item("add\n\n1 2", 5),)),
        ("p.jsonl", '{"prompt": "one", "max_tokens": 9, "temperature": 0.5}\n', (item("one", 9, temperature=0.5),)),
        ("p.jsonl", '{"prompt": [7, 8], "max_tokens": 2}\n', (Item(2, 2, prompt_token_ids=(7, 8)),)),
        ("p.jsonl", '{"messages": [{"role": "user", "content": "a"}], "max_tokens": 4}\n', (item("\x01a", 4),)),
        ("p.txt", "one\ntwo\n", (item("one", 64), item("two", 64))),
        (
            "batch.jsonl",
            '{"custom_id": "x", "body": {"messages": [{"role": "user", "content": "a"}], "max_tokens": 3}}\n',
            (item("\x01a", 3),),
        ),
    ],
)
def test_every_layout_is_read(tmp_path: Path, name: str, text: str, items: tuple[Item, ...]) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert read_prompts(path, Letters(), 64).items == items


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("p.jsonl", '{"prompt": "a"\n', "holds no prompt: not a whole JSON object"),
        ("p.json", '[{"prompt": "a"},', "not a valid JSON array after entry 1"),
        ("p.jsonl", '{"prompts": "a"}\n', "holds no prompt: unknown layout, an object of prompts"),
        ("p.jsonl", '{"prompt": "a", "max_tokens": 0}\n', "holds no prompt: max_tokens must be a whole number from 1"),
        ("p.json", "[]", "holds no prompt: it is empty"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, name: str, text: str, words: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(EnginescopeError, match=words):
        read_prompts(path, Letters(), 64)


def test_a_file_is_tokenized_once_for_a_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINESCOPE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "p.txt"
    path.write_text("one\n")
    made: list[str] = []

    def tokenizer() -> Letters:
        made.append("tokenizer")
        return Letters()

    first = cached_prompts(path, tokenizer, "abc", 64)
    again = cached_prompts(path, tokenizer, "abc", 64)
    assert first == again == WorkloadSource("p", False, "1 entries of p.txt", None, (item("one", 64),), "abc", ASSUMED)
    assert len(made) == 1  # and what was assumed is said of the cached one too
    cached_prompts(path, tokenizer, "def", 64)
    path.write_text("two\n")
    assert cached_prompts(path, tokenizer, "abc", 64).items == (item("two", 64),)
    assert len(made) == 3


def test_items_are_drawn_each_once_before_any_twice() -> None:
    source = WorkloadSource("p", False, "", None, tuple(item(word, 1) for word in ("a", "bb", "ccc")))
    draw = source.draw(0)
    turns = [[next(draw).input_tokens for _ in range(3)] for _ in range(4)]
    assert all(sorted(turn) == [1, 2, 3] for turn in turns) and len({*map(tuple, turns)}) > 1
    assert [next(source.draw(0)).input_tokens] == turns[0][:1]


def test_a_file_of_items_gives_back_what_was_written(tmp_path: Path) -> None:
    items = (Item(5, 2, "system", 3, {"temperature": 0.5}, at_s=0.25, part="chat"), item("a", 1))
    source = WorkloadSource("p", True, "made up", None, items, "abc")
    write_items(tmp_path / "p.jsonl", source)
    assert read_items(tmp_path / "p.jsonl") == read_workload(str(tmp_path / "p.jsonl"), "m") == source
    assert source.arrivals_s == [0.25]


def test_a_profile_is_known_by_its_parts(tmp_path: Path) -> None:
    lengths = {"kind": "fixed", "mean": 3}
    part = {"name": "a", "share": 1, "input_tokens": lengths, "output_tokens": lengths}
    profile = {"schema": 1, "name": "p", "synthetic": True, "source": "", "parts": [part]}
    (tmp_path / "mix_profile.json").write_text("\n" + json.dumps(profile, indent=1))
    source = read_workload(str(tmp_path / "mix_profile.json"), "m")
    assert next(source.draw(0)) == Item(3, 3, part="a")
