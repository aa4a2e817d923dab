"""What a server's messages say: text, token counts, the reason for the end, or an error. No network here."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

LONGEST_MESSAGE = 300  # characters of a server's complaint that a record keeps

# The classes of errors, as records name them.
CONNECT = "connect"
TIMEOUT = "timeout"
RATE_LIMIT = "rate_limit"
SERVER = "server"
CLIENT = "client"
BAD_RESPONSE = "bad_response"
CANCELLED = "cancelled"
CLASSES = (CONNECT, TIMEOUT, RATE_LIMIT, SERVER, CLIENT, BAD_RESPONSE, CANCELLED)
DECODE = json.JSONDecoder().raw_decode
PASSING_STATUS = (500, 502, 503, 504)


class Refused(Exception):
    """Why an attempt failed: its class, a line of text, whether another attempt may do better, and when."""

    def __init__(self, kind: str, message: str, again: bool = False, after_s: float | None = None) -> None:
        super().__init__(short(message))
        self.kind, self.again, self.after_s = kind, again, after_s


def short(text: str) -> str:
    """One line, not longer than a record should be."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 1] + "…"


@dataclass(slots=True)
class Answer:
    """The messages of one attempt, put together."""

    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    has_choice: bool = False

    def take(self, data: bytes) -> bool:
        """Take in a message; whether it brought anything that was generated. Choices may be empty (usage alone)."""
        message = _object(data)
        if error := message.get("error"):
            raise _complaint(error)
        if isinstance(usage := message.get("usage"), dict):
            self.prompt_tokens = _count(usage.get("prompt_tokens"))
            self.completion_tokens = _count(usage.get("completion_tokens"))
        choices = message.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return False
        self.has_choice = True
        return self._take_choice(choices[0])

    def _take_choice(self, choice: dict[str, Any]) -> bool:
        if (reason := choice.get("finish_reason")) is not None:
            self.finish_reason = str(reason)
        part = choice.get("delta") or choice.get("message")
        if not isinstance(part, dict):
            return _keep(self.texts, choice.get("text"))
        said = _keep(self.texts, part.get("content"))
        thought = _keep(self.reasoning, part.get("reasoning") or part.get("reasoning_content"))
        return said or thought or bool(part.get("tool_calls"))


def _keep(kept: list[str], text: Any) -> bool:
    if isinstance(text, str) and text:
        kept.append(text)
        return True
    return False


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _object(data: bytes) -> dict[str, Any]:
    """A message as JSON, or what it is instead."""
    try:
        text = data.decode().strip()
        message, end = DECODE(text)  # `json.loads` would guess the encoding first, of every chunk
        if end != len(text):
            raise ValueError
    except (ValueError, RecursionError):
        raise Refused(BAD_RESPONSE, f"{_kind_of(data)}: {title(data)}") from None
    if not isinstance(message, dict):
        raise Refused(BAD_RESPONSE, f"JSON, but no object: {title(data)}")
    return message


def _kind_of(data: bytes) -> str:
    return "HTML instead of JSON" if data.lstrip()[:1] == b"<" else "no valid JSON"


def title(data: bytes) -> str:
    """The beginning of a body that is not what it should be; a page's title where it has one."""
    found = re.search(rb"<title[^>]*>([^<]{1,200})", data[:4096], re.IGNORECASE)
    return short((found[1] if found else data[: 4 * LONGEST_MESSAGE]).decode("utf-8", "replace"))


def _complaint(error: Any) -> Refused:
    """An error that a server sends in its stream, after it has said 200."""
    code = error.get("code") if isinstance(error, dict) else None
    client = type(code) is int and 400 <= code < 500
    return Refused(CLIENT if client else SERVER, f"error in the answer: {complaint_text(error)}", again=not client)


def complaint_text(error: Any) -> str:
    """A server's own words for what is wrong, out of the shapes that servers use."""
    while isinstance(error, dict):
        inner = next((error[key] for key in ("error", "message", "detail", "msg") if error.get(key)), None)
        if inner is None:
            return json.dumps(error)
        error = inner
    return error if isinstance(error, str) else json.dumps(error)


def refusal(status: int, body: bytes, retry_after: str | None, now_s: float) -> Refused:
    """What an HTTP status outside 2xx means; `now_s` is the time of day, for a `Retry-After` that is a date."""
    try:
        said = complaint_text(json.loads(body))
    except (ValueError, RecursionError):
        said = title(body)
    text = f"{status}: {said}" if said else str(status)
    if status == 429:
        return Refused(RATE_LIMIT, text, True, retry_after_s(retry_after, now_s))
    if status == 408:
        return Refused(TIMEOUT, text, True, retry_after_s(retry_after, now_s))
    if status >= 500:
        return Refused(SERVER, text, status in PASSING_STATUS, retry_after_s(retry_after, now_s))
    return Refused(CLIENT, text)


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """Seconds to wait, out of a `Retry-After` in seconds or as a date; None where there is none to be read."""
    from email.utils import parsedate_to_datetime

    if not value:
        return None
    try:
        wait_s = float(value)
    except ValueError:
        try:
            wait_s = parsedate_to_datetime(value).timestamp() - now_s
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, wait_s) if wait_s < float("inf") else None
