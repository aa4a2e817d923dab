"""Files of prompts: every known layout read, everything else refused by name, in memory that does not grow."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from pathlib import Path

import pytest

from probes.batch.record import Record
from probes.batch.request import Count, count, request
from probes.batch.sending import run
from probes.errors import EnginescopeError
from probes.prompts.files import read
from tests.probes.batch.batchclient import settings
from tests.probes.client.stub_server import Stub

SHAREGPT = [
    {"id": "a_0", "conversations": [{"from": "human", "value": "Say hi"}, {"from": "gpt", "value": "hi"}]},
    {"id": "b_0", "conversations": [{"from": "system", "value": "x"}, {"from": "human", "value": "Count to 3"}]},
    {"id": "c_0", "conversations": []},
]
ALPACA = [
    {"instruction": "Name a colour.", "input": "", "output": "red"},
    {"instruction": "Translate.", "input": "Haus", "output": "house"},
]
BATCH = {
    "custom_id": "request-1",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "gpt", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 10},
}
MESSAGES = {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "well"}]}


def questions(path: Path, mode: str = "chat") -> list[tuple[str, str]]:
    """The prompts of a file: their names and what the last message says."""
    return [(each.id, request(each.content, mode)["messages"][-1]["content"]) for each in read(path)]


@pytest.mark.parametrize(
    ("name", "text", "prompts"),
    [
        ("a.json", json.dumps(SHAREGPT, indent=2), [("a_0", "Say hi"), ("b_0", "Count to 3")]),
        ("a.jsonl", "".join(f"{json.dumps(one)}\n" for one in SHAREGPT), [("a_0", "Say hi"), ("b_0", "Count to 3")]),
        ("a.json", "\ufeff" + json.dumps(ALPACA, indent=4), [("1", "Name a colour."), ("2", "Translate.\n\nHaus")]),
        ("a.jsonl", json.dumps(ALPACA), [("1", "Name a colour."), ("2", "Translate.\n\nHaus")]),
        ("a.jsonl", json.dumps(BATCH), [("request-1", "Hello")]),
        ("a.json", json.dumps([BATCH, MESSAGES], indent=1), [("request-1", "Hello"), ("2", "well")]),
        ("a.json", json.dumps(MESSAGES) + "\n" + json.dumps({"id": 7, "prompt": "b"}), [("1", "well"), ("7", "b")]),
        ("a.ndjson", '{"id":"x","prompt":"a"}\n\n{"prompt":"b"}\n', [("x", "a"), ("3", "b")]),
        ("a.csv", 'id,prompt,answer\nx,"one,\ntwo",1\ny,three,3\n', [("x", "one,\ntwo"), ("y", "three")]),
        ("a.tsv", "instruction\tinput\nAdd.\t1 2\n", [("1", "Add.\n\n1 2")]),
        ("a", "one\ntwo\n", [("1", "one"), ("2", "two")]),
    ],
)
def test_layouts(tmp_path: Path, name: str, text: str, prompts: list[tuple[str, str]]) -> None:
    (tmp_path / name).write_text(text)
    assert questions(tmp_path / name) == prompts


def test_openai_batch_keeps_its_parameters_but_not_the_model_of_another_server(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(BATCH))
    (prompt,) = read(path)
    assert request(prompt.content, "chat") == {"messages": BATCH["body"]["messages"], "max_tokens": 10}


def test_entries_that_ask_nothing_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(SHAREGPT))
    assert count(tmp_path / "a.json", "chat") == Count(prompts=2, empty=1)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.jsonl", '{"question":"a","answer":"b"}', "line 1: unknown layout, an object of question, answer"),
        ("a.json", '[{"prompt":"a"},{"text":"b"}]', "entry 2: unknown layout, an object of text"),
        ("a.json", '{\n  "prompt": "a"\n}\n', "line 1: not a whole JSON object"),
        ("a.json", '[{"prompt":"a"},\n{"prompt":', "not a valid JSON array after entry 1"),
        ("a.json", '["a","b"]', "entry 1: not an object"),
        ("a.json", '[{"conversations":"hi"}]', "must be a list of turns"),
        ("a.json", '[{"conversations":[{"from":"human","value":3}]}]', "no text"),
        ("a.jsonl", '{"custom_id":"x","body":{"input":"embed me"}}', "needs `prompt` or `messages`"),
        ("a.csv", "question,answer\na,b\n", "unknown layout, columns question, answer"),
        ("a.csv", "prompt,answer\na,b,c\n", "does not have as many cells as the header"),
        ("a.csv", 'prompt\n"open\n', "not a valid table after row 0"),
        ("a.parquet", "PAR1", "unknown file type .parquet"),
        ("a.txt", '[\n  {"prompt": "a"}\n]\n', "holds JSON"),
        ("a.txt", '{"prompt": "a"}\n', "holds JSON"),
        ("a.json", "[]", "holds no prompt"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(EnginescopeError) as raised:
        count(tmp_path / name, "chat")
    assert words in str(raised.value) and raised.value.code == 2 and "\n" not in str(raised.value)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnginescopeError, match="read twice"):
        count(Path("/dev/null"), "chat")


def test_prompts_with_their_own_parameters(server: tuple[Stub, str], tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"id":"a","prompt":"hi there","temperature":0,"max_tokens":3}\n\n'
        '{"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"well"}]}\n'
    )
    records: list[Record] = []
    asyncio.run(run(settings(server[1], "crlf", max_tokens=9), None, read(path), records.append))
    assert sorted(record.id for record in records) == ["3", "a"]
    first, second = sorted(server[0].bodies["crlf"][-2:], key=lambda body: body["max_tokens"])
    assert first["temperature"] == 0 and first["max_tokens"] == 3 and first["messages"][0]["content"] == "hi there"
    assert second["max_tokens"] == 9 and len(second["messages"]) == 2 and second["stream"] is True


@pytest.mark.parametrize(
    ("line", "mode", "words"),
    [
        ("[1]", "chat", "not an object"),
        ("{", "chat", "line 2"),
        ('{"id":"a"}', "chat", "needs `prompt` or `messages`"),
        ('{"prompt":"a","messages":[]}', "chat", "one of them"),
        ('{"messages":[{"role":"user","content":"a"}]}', "completion", "for --mode chat"),
        ('{"messages":[]}', "chat", "at least one object with a `role`"),
        ('{"messages":["a"]}', "chat", "at least one object with a `role`"),
        ('{"prompt":[1,2]}', "chat", "must be text"),
        ('{"prompt":"a","stream":true}', "chat", "--stream"),
        ('{"prompt":"a","n":2}', "chat", "`n` must be 1"),
    ],
)
def test_a_line_that_cannot_be_sent_is_refused_first(tmp_path: Path, line: str, mode: str, words: str) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(f'{{"prompt":"fine"}}\n{line}\n')
    with pytest.raises(EnginescopeError, match="line 2") as raised:
        count(path, mode)
    assert words in str(raised.value) and raised.value.code == 2


def test_text_lines(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes("\ufeffGrüße\r\n\r\n  zwei \n{no json}".encode())
    assert [(p.line, p.id, request(p.content, "completion")["prompt"]) for p in read(path)] == [
        (1, "1", "Grüße"),
        (3, "3", "  zwei "),
        (4, "4", "{no json}"),
    ]
    path.write_bytes(b"fine\n\xff\xfe\n")
    with pytest.raises(EnginescopeError, match="line 2"):
        count(path, "chat")


def write_text(path: Path, prompts: int) -> Path:
    path.write_text("prompt\n" * prompts)
    return path


def write_array(path: Path, prompts: int) -> Path:
    path.write_text("[" + ",\n".join(['{"prompt": "some words to send"}'] * prompts) + "]")
    return path


@pytest.mark.parametrize(("name", "write"), [("in.txt", write_text), ("in.json", write_array)])
def test_many_prompts_in_constant_memory(tmp_path: Path, name: str, write) -> None:
    path = write(tmp_path / name, 200_000)
    tracemalloc.start()
    assert sum(1 for _ in zip(range(20_000), read(path), strict=False)) == 20_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20
    assert count(path, "chat") == Count(200_000, 0)
