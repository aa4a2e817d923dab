"""Chunks in which nothing but the text differs: what is not parsed anew says the same as if it were."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.client.answer import Answer
from probes.client.sse import Events
from probes.client.template import learn


def chunk(text: str, **other: Any) -> bytes:
    choice = {"index": 0, "text": text, "finish_reason": None}
    return f"data: {json.dumps({'choices': [choice], 'usage': None, **other}, ensure_ascii=False)}\n\n".encode()


@pytest.mark.parametrize("text", [" Grüße", 'a "word"', "a\nline", "\\"])
def test_the_text_of_a_chunk_like_the_one_before(text: str) -> None:
    template = learn(chunk(" Hi"), " Hi")
    assert template is not None and template.text(chunk(text)) == text


@pytest.mark.parametrize(
    "other",
    [
        chunk(""),
        chunk(" you").replace(b'" you"', b'" you", "text": " all"'),
        chunk(" you").replace(b'" you"', b"null"),
        chunk(" you").replace(b'" you"', b'["you"]'),
        chunk(" you", id="another"),
        chunk(" you") + chunk(" all"),
        chunk(" you")[:-1],
        chunk(" you").replace(b" you", b"\xff"),
        b"data: [DONE]\n\n",
        b"",
    ],
)
def test_any_other_chunk_is_left_to_the_parser(other: bytes) -> None:
    template = learn(chunk(" Hi"), " Hi")
    assert template is not None and template.text(other) == ""


@pytest.mark.parametrize(
    ("first", "text"),
    [
        (chunk("text"), "text"),  # a key has that name too
        (chunk(" Hi", usage={"completion_tokens": 1}), " Hi"),
        (chunk(" Hi").replace(b'"finish_reason": null', b'"finish_reason": "stop"'), " Hi"),
        (chunk(" Hi", error={"message": "no"}), " Hi"),
        (chunk("a", id="a").replace(b'"text": "a"', b'"text": "\\u0061"'), "a"),  # the text is not where it seems to be
        (chunk(" Hi") + b": ping\n\n", " Hi"),
        (chunk(" Hi")[:-1], " Hi"),
        (b'data: {"choices": [{"text": "\\ud800"}]}\n\n', "\ud800"),  # half a surrogate pair
    ],
)
def test_a_chunk_that_may_do_more_is_no_template(first: bytes, text: str) -> None:
    assert learn(first, text) is None


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_it_says_what_the_parser_says(text: str) -> None:
    template, answer = learn(chunk(" Hi"), " Hi"), Answer()
    assert template is not None
    for data in Events().feed(chunk(text)):
        answer.take(data)
    assert template.text(chunk(text)) in ("", "".join(answer.texts))
