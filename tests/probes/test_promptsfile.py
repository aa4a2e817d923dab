"""The file of prompts: what a line may say, and that a million of them need no more memory than one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from probes.batch.promptsfile import count, read
from probes.batch.record import Record
from probes.batch.sending import run
from probes.errors import EnginescopeError
from tests.probes.batchclient import settings
from tests.probes.stub_server import Stub


def test_prompts_with_their_own_parameters(server: tuple[Stub, str], tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"id":"a","prompt":"hi there","temperature":0,"max_tokens":3}\n\n'
        '{"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"well"}]}\n'
    )
    records: list[Record] = []
    asyncio.run(run(settings(server[1], "crlf", max_tokens=9), None, read(path, "chat"), records.append))
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
        ('{"messages":[]}', "completion", "for --mode chat"),
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
    assert [(p.line, p.id, p.request["prompt"]) for p in read(path, "completion")] == [
        (1, "1", "Grüße"),
        (3, "3", "  zwei "),
        (4, "4", "{no json}"),
    ]
    path.write_bytes(b"fine\n\xff\xfe\n")
    with pytest.raises(EnginescopeError, match="line 2"):
        count(path, "chat")


def test_a_million_lines_in_constant_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "in.txt"
    path.write_text("prompt\n" * 1_000_000)
    tracemalloc.start()
    assert sum(1 for _ in zip(range(20_000), read(path, "chat"), strict=False)) == 20_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20
    assert count(path, "chat") == 1_000_000
