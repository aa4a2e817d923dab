"""The chunk that a server sends again and again, in which nothing but the text differs: it need not be parsed anew."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from probes.client.answer import Answer, Refused

MARK = "a text"
MARKED = Answer(texts=[MARK], has_choice=True)


@dataclass(frozen=True, slots=True)
class Template:
    """What stands before and behind the text in a chunk of whole events; its quotes belong to the text.

    | chunk                                 | head                         | text    | tail    |
    | ------------------------------------- | ---------------------------- | ------- | ------- |
    | `data: {"choices":[{"text":" Hi"}]}⏎⏎` | `data: {"choices":[{"text":` | `" Hi"` | `}]}⏎⏎` |
    """

    head: bytes
    tail: bytes
    least_bytes: int

    def text(self, chunk: bytes) -> str:
        """The text of a chunk that is like this one; nothing where it is another."""
        if len(chunk) <= self.least_bytes or not chunk.startswith(self.head) or not chunk.endswith(self.tail):
            return ""
        try:
            text = orjson.loads(chunk[len(self.head) : -len(self.tail)])
        except orjson.JSONDecodeError:
            return ""
        return text if type(text) is str else ""


def learn(chunk: bytes, text: str) -> Template | None:
    """The template of a chunk that brought `text`; None where it may do more than to bring a text.

    The proof is another chunk after the same template: taken in, it brings its text and changes nothing else.
    """
    quoted = b'"%b"' % text.encode(errors="replace")
    if chunk.count(b"\n") != 2 or not chunk.startswith(b"data: {") or not chunk.endswith(b"}\n\n"):
        return None
    head, separator, tail = chunk.partition(quoted)
    if not separator or quoted in tail:
        return None
    answer, another = Answer(), b'%b"%b"%b' % (head[6:], MARK.encode(), tail[:-2])
    try:
        has_output = answer.take(another)
    except Refused:
        return None
    if not has_output or answer != MARKED:
        return None
    return Template(head, tail, len(head) + len(tail))
