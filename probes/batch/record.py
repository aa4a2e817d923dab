"""The record of one prompt: what was sent, what came back and when; read from and written to JSON here alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from probes.client.toolcalls import ToolCall
from probes.columns import column
from probes.errors import usage_error
from probes.jsonform import encoded

SCHEMA = 2  # 2: cached tokens, tool calls and reasoning in every record; 1: the first
BEGINNING = b'{"schema":'  # of every record, whatever its number
BLANK = "[api key]"


@dataclass(frozen=True, slots=True)
class Record:
    """One prompt of a batch. Times are seconds; null stands for what is not known."""

    id: str = field(metadata=column("name of the prompt in the input; its place where it has none"))
    line: int = field(metadata=column("place in the input: a line, an entry of an array, or a row, from 1"))
    line_crc32: int = field(metadata=column("CRC-32 of the prompt in the input: a changed input is not resumed"))
    mode: str = field(metadata=column("endpoint: `chat` or `completion`"))
    model: str = field(metadata=column("model that was asked for"))
    stream: bool = field(metadata=column("whether a stream was asked for"))
    began_s: float = field(metadata=column("when this start of the batch began", "s since 1970"))
    ok: bool = field(metadata=column("whether the prompt was answered"))
    scheduled_s: float = field(metadata=column("when the prompt was to be sent", "s since 1970"))
    sent_s: float = field(metadata=column("when the last attempt was sent", "s since 1970"))
    ended_s: float = field(metadata=column("when the last attempt ended", "s since 1970"))
    latency_s: float = field(metadata=column("latency, retries and waiting included", "s", "ended_s - scheduled_s"))
    ttft_s: float | None = field(
        metadata=column("time to the first chunk with output; null without a stream", "s", "first chunk - scheduled_s")
    )
    itl: list[float] = field(
        metadata=column("inter-token latencies: times between chunks with output", "s", "chunk - chunk before it")
    )
    status_code: int | None = field(metadata=column("HTTP status of the last attempt; null where none came"))
    error_type: str | None = field(
        metadata=column("class of the failure: connect, timeout, rate_limit, server, client, bad_response, cancelled")
    )
    error_msg: str | None = field(metadata=column("the failure in words, the server's own where it sent any"))
    attempts: int = field(metadata=column("times that the prompt was sent"))
    stream_chunks: int = field(metadata=column("chunks that carried output"))
    prompt_tokens: int | None = field(metadata=column("prompt tokens, as the server counts", "tokens"))
    cached_tokens: int | None = field(
        metadata=column("prompt tokens found in the server's prefix cache, as it counts", "tokens")
    )
    completion_tokens: int | None = field(metadata=column("output tokens, as the server counts", "tokens"))
    finish_reason: str | None = field(metadata=column("why the output ended, in the server's word"))
    text: str = field(metadata=column("the answer; of a failed prompt, what came of it"))
    reasoning: str = field(metadata=column("reasoning text that the server sends apart from the answer"))
    tool_calls: list[ToolCall] = field(metadata=column("functions that the model asks for: `name` and `arguments`"))

    def json(self) -> bytes:
        """The record as a line of JSON, its newline included."""
        return b"%b%d,%b\n" % (BEGINNING, SCHEMA, encoded(self).removeprefix(b"{"))

    def without(self, secret: str) -> Record:
        """The same with `secret` blanked out of whatever the server sent."""

        def blanked(text: str) -> str:
            return text.replace(secret, BLANK)

        return replace(
            self,
            error_msg=self.error_msg and blanked(self.error_msg),
            finish_reason=self.finish_reason and blanked(self.finish_reason),
            text=blanked(self.text),
            reasoning=blanked(self.reasoning),
            tool_calls=[ToolCall(blanked(call.name), blanked(call.arguments)) for call in self.tool_calls],
        )


def _kinds(hint: Any) -> tuple[type, ...]:  # of no common type
    """The types that a value may have: `list[float]` is a list, `int | None` an int or None."""
    return tuple(get_origin(each) or each for each in (get_args(hint) if isinstance(hint, UnionType) else (hint,)))


KINDS = {name: _kinds(hint) for name, hint in get_type_hints(Record).items()}


def parsed(line: bytes, path: Path) -> Record | None:
    """A line of `path` as a record; None for anything else, a torn line among them; another schema is refused."""
    try:
        values = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or type(schema := values.pop("schema", None)) is not int or "line" not in values:
        return None
    if schema != SCHEMA:
        raise usage_error(
            f"{path} holds records of schema {schema}, and this version reads schema {SCHEMA}: read it with the "
            "version that wrote it, or send the prompts again to another --output"
        )
    if values.keys() != KINDS.keys() or any(type(values[name]) not in kinds for name, kinds in KINDS.items()):
        return None
    return _record(values)


def _record(values: dict[str, Any]) -> Record | None:  # `Any`: their types are checked
    try:
        calls = [ToolCall(**call) for call in values["tool_calls"]]
    except TypeError:
        return None
    return Record(**{**values, "tool_calls": calls})
