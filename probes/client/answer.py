"""What a server's messages say: text, token counts, the reason for the end, or an error. No network here."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import orjson

from probes.client.toolcalls import ToolCalls

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
PASSING_STATUS = (500, 502, 503, 504)
GIVEN_UP = ("abort", "error")  # reasons for the end that are the engine's, not the model's
CACHED = ("cached_tokens", "prompt_cache_hit_tokens")  # the second is DeepSeek's name, and beside the other counts
CLIENT_WORDS = ("invalid_request", "badrequest", "bad_request", "validation", "context_length", "context_size")


class Refused(Exception):
    """Why an attempt failed: its class, a line of text, whether another attempt may do better, and when."""

    def __init__(self, kind: str, message: str, again: bool = False, after_s: float | None = None) -> None:
        super().__init__(short(message))
        self.kind, self.again, self.after_s = kind, again, after_s


def short(text: str) -> str:
    """One line without control characters, not longer than a record should be."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 1] + "…"


@dataclass(slots=True)
class Answer:
    """The messages of one attempt, put together."""

    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: ToolCalls = field(default_factory=ToolCalls)
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    tokens: int | None = None  # of the last output alone, where the server says
    has_choice: bool = False

    def take(self, data: bytes) -> bool:
        """Take in a message; whether it brought anything that was generated. Choices may be empty (usage alone)."""
        message, self.tokens = _object(data), None
        if error := _error_in(message):
            raise _complaint(error)
        if isinstance(usage := message.get("usage"), dict):
            self._take_usage(usage)
        choices = message.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return False
        self.has_choice = True
        return self._take_choice(choices[0])

    def check_end(self) -> None:
        """Refuse an answer that the server gave up: it ends its stream as if the model had stopped."""
        if self.finish_reason in GIVEN_UP:
            reason = self.finish_reason
            raise Refused(SERVER, f"the server gave the request up (finish_reason {reason})", again=True)

    def _take_usage(self, usage: dict[str, object]) -> None:
        """Counts so far; a server may send them with every chunk, and an empty usage takes nothing back."""
        if (prompt_tokens := _count(usage.get("prompt_tokens"))) is not None:
            self.prompt_tokens = prompt_tokens
        if (completion_tokens := _count(usage.get("completion_tokens"))) is not None:
            self.tokens = completion_tokens - self.completion_tokens if self.completion_tokens is not None else None
            self.completion_tokens = completion_tokens
        details = usage.get("prompt_tokens_details")
        places = [*([details] if isinstance(details, dict) else []), usage]
        counts = (_count(place.get(name)) for place in places for name in CACHED)
        self.cached_tokens = next((count for count in counts if count is not None), self.cached_tokens)

    def _take_choice(self, choice: dict[str, object]) -> bool:
        if reason := choice.get("finish_reason"):  # some servers send "" until the end
            self.finish_reason = str(reason)
        if ids := choice.get("token_ids"):  # vLLM, where they are asked for: there are tokens without a text
            self.tokens = len(ids) if isinstance(ids, list) else None
        part = choice.get("delta") or choice.get("message")
        if not isinstance(part, dict):
            return _keep(self.texts, choice.get("text")) or bool(ids)
        has_output = _keep(self.texts, part.get("content"))
        if len(part) > 1 or not has_output:
            has_reasoning = _keep(self.reasoning, part.get("reasoning") or part.get("reasoning_content"))
            has_call = self.calls.take(part.get("tool_calls") or part.get("function_call"))
            has_output = has_output or has_reasoning or has_call
        return has_output or bool(ids)


def _keep(kept: list[str], text: object) -> bool:
    if isinstance(text, list):  # parts, as some gateways send them: {"type": "text", "text": "…"}
        return any([_keep(kept, part.get("text")) for part in text if isinstance(part, dict)])  # a list: all are kept
    if isinstance(text, str) and text:
        kept.append(text)
        return True
    return False


def _count(value: object) -> int | None:
    """A count of tokens; some servers write it as 12.0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value >= 0 and value == value // 1 else None


def _object(data: bytes) -> dict[str, object]:
    """A message as JSON, or what it is instead."""
    try:
        message = orjson.loads(data)
    except orjson.JSONDecodeError:
        message = _lenient(data)
    if not isinstance(message, dict):
        raise Refused(BAD_RESPONSE, f"JSON, but no object: {title(data)}")
    return message


def _lenient(data: bytes) -> object:
    """The same by the standard library, which takes NaN and half a surrogate pair as well."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise Refused(BAD_RESPONSE, f"{_kind_of(data)}: {title(data)}") from None


def _kind_of(data: bytes) -> str:
    return "HTML instead of JSON" if data.lstrip()[:1] == b"<" else "no valid JSON"


def title(data: bytes) -> str:
    """The beginning of a body that is not what it should be; a page's title where it has one."""
    match = re.search(rb"<title[^>]*>([^<]{1,200})", data[:4096], re.IGNORECASE)
    return short((match[1] if match else data[: 4 * LONGEST_MESSAGE]).decode("utf-8", "replace"))


def _error_in(message: dict[str, object]) -> dict[str, object] | None:
    """What a message complains of; None for one that is no error. FastAPI's own errors are a bare `detail`."""
    if error := message.get("error"):
        return error if isinstance(error, dict) else message
    bare = message.get("object") == "error" or (message.get("detail") and "choices" not in message)
    return message if bare else None


def _complaint(error: dict[str, object]) -> Refused:
    """An error that a server sends in its answer, after it has said 200."""
    return _refused(_status_of(error), f"error in the answer: {complaint_text(error)}")


def _status_of(error: dict[str, object]) -> int | None:
    """The HTTP status that an error stands for: a number or text under one of several names, or a kind of error."""
    for name in ("code", "status_code", "http_status_code", "status"):
        if str(code := error.get(name)).isdecimal():
            return int(str(code))
    kind = f"{error.get('type')} {error.get('error_type')} {error.get('code')}".lower()
    if "rate_limit" in kind:
        return 429
    return 400 if any(word in kind for word in CLIENT_WORDS) else None


def _refused(status: int | None, text: str, after_s: float | None = None) -> Refused:
    """The class of a failure by its HTTP status; None and what is no status of an error count as the server's."""
    if status == 429:
        return Refused(RATE_LIMIT, text, True, after_s)
    if status == 408:
        return Refused(TIMEOUT, text, True, after_s)
    if status is not None and 300 <= status < 500:
        return Refused(CLIENT, text)
    return Refused(SERVER, text, status in PASSING_STATUS or status is None or status < 300, after_s)


def complaint_text(error: object) -> str:
    """A server's own words for what is wrong, out of the shapes that servers use."""
    while isinstance(error, dict):
        values = (error.get(key) for key in ("error", "message", "detail", "details", "msg"))
        inner = next((value for value in values if value and value is not True), None)
        if inner is None:
            return json.dumps(error)
        error = inner
    return error if isinstance(error, str) else json.dumps(error)


def refusal(status: int, body: bytes, retry_after: str | None, now_s: float) -> Refused:
    """What an HTTP status outside 2xx means; `now_s` is the time of day, for a `Retry-After` that is a date."""
    try:
        words = complaint_text(json.loads(body))
    except (ValueError, RecursionError):
        words = title(body)
    text = f"{status}: {words}" if words else str(status)
    return _refused(status, text, retry_after_s(retry_after, now_s))


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """Seconds to wait, out of a `Retry-After` in seconds or as a date; None where there is none to be read."""
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
