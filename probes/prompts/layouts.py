"""One entry of a file of prompts: which of the known layouts it has, and the prompt in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeGuard

KNOWN = (
    "needs `prompt` or `messages`, `conversations` (ShareGPT), `instruction` (Alpaca), or `custom_id` and `body` "
    "(OpenAI batch)"
)
ASKERS = ("human", "user")


@dataclass(frozen=True, slots=True)
class Content:
    """What an entry asks: `text` (or token ids) or `messages`, one of them, and its own request parameters.

    `answer` is what the file says was answered; it is never sent.
    """

    id: str | None = None
    text: str | list[int] | None = None
    messages: list[object] | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    answer: str | None = field(default=None, compare=False)


def content(entry: object) -> Content | None:
    """The prompt of an entry; None where it asks nothing (no text, or no human turn); ValueError says why not.

    | entry                                              | prompt                                     |
    | -------------------------------------------------- | ------------------------------------------ |
    | `{"prompt": "a", "max_tokens": 5}`                 | `a`, with its parameters                   |
    | `{"messages": [{"role": "user", "content": "a"}]}` | the messages                               |
    | `{"conversations": [{"from": "human", "value": "a"}, …]}` | `a`: the first turn of a human      |
    | `{"instruction": "a", "input": "b", …}`            | `a`, a blank line, `b`                     |
    | `{"custom_id": "x", "body": {"messages": […], …}}` | as its body, without the body's `model`    |
    """
    if not isinstance(entry, dict):
        raise ValueError('not an object; an entry looks like {"prompt": "…", "max_tokens": 16}')
    if isinstance(entry.get("body"), dict):
        return _openai_batch(entry.get("custom_id"), entry["body"])
    if "prompt" in entry or "messages" in entry:
        return _request(entry)
    if "conversations" in entry:
        return _sharegpt(entry)
    if "instruction" in entry:
        return _alpaca(entry)
    raise ValueError(f"unknown layout, an object of {', '.join(map(str, list(entry)[:8])) or 'nothing'}; {KNOWN}")


def _request(entry: Mapping[str, object]) -> Content | None:
    parameters = dict(entry)
    name, text, messages = (parameters.pop(key, None) for key in ("id", "prompt", "messages"))
    if (text is None) == (messages is None):
        raise ValueError("needs `prompt` or `messages`, one of them")
    if messages is not None and not _are_messages(messages):
        raise ValueError("`messages` must be a list of at least one object with a `role`")
    if text is not None and not (isinstance(text, str) or _are_token_ids(text)):
        raise ValueError("`prompt` must be text, or a list of token ids")
    return None if _is_blank(text) else Content(_name(name), text, messages, parameters)


def _openai_batch(name: object, body: Mapping[str, object]) -> Content | None:
    """A line of OpenAI's batch format; its model is one of another server, and the command names this server's."""
    parameters = {key: value for key, value in body.items() if key not in ("model", "id")}
    return _request({**parameters, "id": name})


def _sharegpt(entry: Mapping[str, object]) -> Content | None:
    turns = entry["conversations"]
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise ValueError("`conversations` must be a list of turns, each with `from` and `value`")
    for place, turn in enumerate(turns):
        if turn.get("from", turn.get("role")) in ASKERS:
            text = turn.get("value", turn.get("content"))
            if not isinstance(text, str):
                raise ValueError("the first turn of a human has no text as its `value`")
            return None if _is_blank(text) else Content(_name(entry.get("id")), text, answer=_answer(turns, place))
    return None


def _answer(turns: list[Mapping[str, object]], place: int) -> str | None:
    """The text of the turn behind a question, where another than a human has it."""
    turn = turns[place + 1] if place + 1 < len(turns) else {}
    text = turn.get("value", turn.get("content"))
    return text if isinstance(text, str) and turn.get("from", turn.get("role")) not in ASKERS else None


def _alpaca(entry: Mapping[str, object]) -> Content | None:
    instruction, more = entry["instruction"], entry.get("input") or ""
    if not isinstance(instruction, str) or not isinstance(more, str):
        raise ValueError("`instruction` and `input` must be text")
    text = "\n\n".join(part for part in (instruction, more) if part.strip())
    output = entry.get("output")
    answer = output if isinstance(output, str) else None
    return Content(_name(entry.get("id")), text, answer=answer) if text else None


def _is_blank(text: object) -> bool:
    return isinstance(text, str) and not text.strip()


def _name(value: object) -> str | None:
    return None if value is None else str(value)


def _are_messages(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and "role" in one for one in value)


def _are_token_ids(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and bool(value) and all(type(token) is int for token in value)
