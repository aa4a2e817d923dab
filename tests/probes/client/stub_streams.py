"""Streams that servers really send, after reports in their issue trackers: shortened, with texts of our own."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from probes.client.toolcalls import ToolCall

DONE = "data: [DONE]\n\n"
CALL = [ToolCall("add", '{"x":1}')]


@dataclass(frozen=True)
class OddStream:
    """What a server sends, the report that it is from, and what the record has to say."""

    issue: str
    kind: str
    text: str
    expected: dict[str, Any] = field(default_factory=dict)


def data(**message: Any) -> str:
    return f"data: {json.dumps(message)}\n\n"


def chunk(reason: Any = None, usage: Any = None, **delta: Any) -> str:
    """A chunk of a chat with one choice."""
    more = {} if usage is None else {"usage": usage}
    return data(choices=[{"index": 0, "delta": delta, "finish_reason": reason}], **more)


def call(index: int | None = 0, id: str | None = None, name: str | None = None, arguments: Any = None) -> str:
    """A chunk with a piece of a tool call; what is None is left out."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    piece = {key: value for key, value in (("index", index), ("id", id)) if value is not None}
    return chunk(content=None, tool_calls=[{**piece, "type": "function", "function": function}])


def count(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, **more}


def usage(prompt: int, completion: int, **more: Any) -> str:
    return data(choices=[], usage=count(prompt, completion, **more))


STOP = chunk("stop")
ROLE = chunk(role="assistant", content="")
HI = chunk(content="Hi")
TWO = {"text": "Hi you", "stream_chunks": 2}
YOU = chunk(content=" you")

VLLM = [
    OddStream(
        "vllm-project/vllm#57082", "the engine aborts, the stream ends as if it were whole",
        HI + chunk("abort") + DONE,
        {"ok": False, "error_type": "server", "error_msg": "gave the request up (finish_reason abort)", "text": "Hi"},
    ),
    OddStream(
        "vllm-project/vllm#35705", "the last text and the reason in one chunk",
        HI + chunk("length", content=" you") + DONE, {**TWO, "finish_reason": "length"},
    ),
    OddStream(
        "vllm-project/vllm#7262", "usage in every chunk, counting up",
        chunk(role="assistant", content=None, usage=count(16, 0)) + chunk(content="Hi", usage=count(16, 1))
        + chunk(content=" you", usage=count(16, 2)) + chunk("stop", usage=count(16, 2)) + DONE,
        {**TWO, "prompt_tokens": 16, "completion_tokens": 2},
    ),
    OddStream(
        "vllm-project/vllm#5708", "empty texts while a prompt is prefilled in pieces are no tokens",
        chunk(content="") + chunk(content="") + HI + YOU + STOP + DONE, TWO,
    ),
    OddStream(
        "vllm-project/vllm#45678", "several tokens in a chunk",
        chunk(content="Hi you there") + STOP + usage(3, 9) + DONE,
        {"text": "Hi you there", "stream_chunks": 1, "completion_tokens": 9},
    ),
    OddStream(
        "vllm-project/vllm#27755", "reasoning under its new name",
        chunk(reasoning="hm") + HI + STOP + DONE, {"text": "Hi", "reasoning": "hm", "stream_chunks": 2},
    ),
    OddStream(
        "vllm-project/vllm#9693", "a tool call without arguments",
        call(id="a", name="add") + chunk("tool_calls") + DONE,
        {"text": "", "tool_calls": [ToolCall("add", "")], "stream_chunks": 1, "finish_reason": "tool_calls"},
    ),
    OddStream(
        "vllm-project/vllm-ascend#14501", "content null beside tool calls",
        call(id="a", name="add", arguments="") + call(arguments='{"x":') + call(arguments="1}") + STOP + DONE,
        {"text": "", "tool_calls": CALL, "stream_chunks": 3},
    ),
    OddStream(
        "vllm-project/vllm#48347", "a whole tool call in one chunk, after text in the same one",
        chunk(content="Sure.", tool_calls=[{"index": 0, "function": {"name": "add", "arguments": '{"x":1}'}}])
        + STOP + DONE,
        {"text": "Sure.", "tool_calls": CALL, "stream_chunks": 1},
    ),
    OddStream(
        "InternLM/lmdeploy#3412", "vLLM: every tool call has index 0, a new id begins the next",
        call(0, "a", "add", "") + call(0, "", arguments='{"x":1}') + call(0, "b", "mul", "") + call(0, "", None, "{}")
        + STOP + DONE,
        {"tool_calls": [*CALL, ToolCall("mul", "{}")]},
    ),
    OddStream(
        "vllm-project/vllm#44961", "prompt_tokens_details null: cached tokens are not known",
        HI + STOP + usage(24, 1, prompt_tokens_details=None) + DONE, {"prompt_tokens": 24, "cached_tokens": None},
    ),
    OddStream(
        "vllm-project/vllm#18149", "cached tokens counted",
        HI + STOP + usage(24, 1, prompt_tokens_details={"cached_tokens": 16}) + DONE,
        {"prompt_tokens": 24, "cached_tokens": 16},
    ),
]  # fmt: skip
SGLANG = [
    OddStream(
        "sgl-project/sglang#18335", "role and content null until reasoning is over",
        chunk(role=None, content=None) * 3 + HI + YOU + STOP + DONE, TWO,
    ),
    OddStream(
        "sgl-project/sglang#12081", "a prompt that is too long: 400 in a stream with status 200",
        data(error={"object": "error", "message": "input is longer than the context", "code": 400}) + DONE,
        {"ok": False, "error_type": "client", "error_msg": "input is longer than the context", "status_code": 200},
    ),
    OddStream(
        "dstackai/dstack#2228", 'finish_reason "" in every chunk: a stream that breaks off then is not whole',
        chunk("", content="Hi"), {"ok": False, "error_type": "bad_response", "error_msg": "ended early", "text": "Hi"},
    ),
    OddStream(
        "sgl-project/mini-sglang#51", "a stream where none was asked for",
        HI + YOU + STOP + DONE, {**TWO, "stream": False},
    ),
    OddStream(
        "sgl-project/sglang#22535", "a request ended by its operator",
        HI + chunk("abort") + DONE, {"ok": False, "error_type": "server"},
    ),
    OddStream(
        "sgl-project/genai-bench#159", "no space after the colon",
        (HI + YOU + STOP + DONE).replace("data: ", "data:"), TWO,
    ),
    OddStream(
        "InternLM/lmdeploy#3412", "SGLang: index 0 and the id in every piece",
        call(0, "0", "add", "") + call(0, "0", None, '{"x":1}') + call(0, "1", "mul", "") + call(0, "1", None, "{}")
        + STOP + DONE,
        {"tool_calls": [*CALL, ToolCall("mul", "{}")]},
    ),
]  # fmt: skip
LLAMA_CPP = [
    OddStream(
        "ggml-org/llama.cpp#16104", "an error in a field `error:` of its own",
        HI + 'error: {"code":400,"message":"the context is full","type":"invalid_request_error"}\n\n' + DONE,
        {"ok": False, "error_type": "client", "error_msg": "the context is full", "text": "Hi"},
    ),
    OddStream(
        "ggml-org/llama.cpp#14566", "an error as the first event of a stream with status 200",
        data(error={"code": 500, "message": "context is too small", "type": "server_error"}),
        {"ok": False, "error_type": "server", "error_msg": "context is too small"},
    ),
    OddStream(
        "ggml-org/llama.cpp#16048", "usage with timings and no choices, always",
        HI + STOP + data(choices=[], usage=count(75, 31), timings={"cache_n": 0, "prompt_n": 75}) + DONE,
        {"text": "Hi", "prompt_tokens": 75, "completion_tokens": 31},
    ),
    OddStream(
        "ggml-org/llama.cpp#14268", "the first content is null",
        chunk(role="assistant", content=None) + HI + YOU + STOP + DONE, TWO,
    ),
    OddStream(
        "coddy-project/coddy-agent#106", "comments and empty events keep the connection alive",
        ": ping\n\ndata:\n\n" + HI + ": ping\n\ndata: \n\n" + YOU + STOP + DONE, TWO,
    ),
    OddStream(
        "darshi1337/apogee#139", "[DONE] without the blank line behind it",
        HI + YOU + STOP + "data: [DONE]", TWO,
    ),
    OddStream(
        "abetlen/llama-cpp-python#1082", "no usage at all: tokens are not known",
        HI + YOU + STOP + DONE, {**TWO, "prompt_tokens": None, "completion_tokens": None},
    ),
    OddStream(
        "abetlen/llama-cpp-python#1640", "usage in the chunk that says why the text ends",
        HI + chunk("stop", usage=count(9, 1)) + DONE, {"text": "Hi", "completion_tokens": 1},
    ),
]  # fmt: skip
LITELLM = [
    OddStream(
        "BerriAI/litellm#26309", "the code of an error as text",
        data(error={"message": "no connection upstream", "type": None, "param": None, "code": "500"}),
        {"ok": False, "error_type": "server", "error_msg": "no connection upstream"},
    ),
    OddStream(
        "BerriAI/litellm#6629", "a context that is too long: status 200, the code 400 as text",
        data(error={"message": "prompt is too long", "type": None, "code": "400"}),
        {"ok": False, "error_type": "client", "error_msg": "prompt is too long"},
    ),
    OddStream(
        "BerriAI/litellm#40578", "a full queue upstream, told in the stream, with [DONE] behind it",
        data(error={"message": "queue full", "type": "rate_limit_error", "code": "429"}) + DONE,
        {"ok": False, "error_type": "rate_limit", "error_msg": "queue full"},
    ),
    OddStream(
        "BerriAI/liteLLM-proxy#19", "chunks without finish_reason",
        data(choices=[{"index": 0, "delta": {"content": "Hi"}}]) + YOU + STOP + DONE, TWO,
    ),
    OddStream(
        "BerriAI/litellm#10686", "no reason for the end, but [DONE]",
        HI + YOU + DONE, {**TWO, "finish_reason": None},
    ),
    OddStream(
        "BerriAI/litellm#8450", "usage in a chunk that has a choice",
        HI + STOP + data(choices=[{"index": 0, "delta": {}, "finish_reason": None}], usage=count(7, 1)) + DONE,
        {"text": "Hi", "finish_reason": "stop", "prompt_tokens": 7},
    ),
    OddStream(
        "BerriAI/litellm#1371", "an empty usage takes no count back",
        HI + chunk("stop", usage=count(7, 1)) + chunk(usage={}) + DONE, {"prompt_tokens": 7, "completion_tokens": 1},
    ),
    OddStream(
        "BerriAI/litellm#376", "a choice that is not the first",
        data(choices=[{"index": 1, "delta": {"content": "Hi"}, "finish_reason": None}]) + YOU + STOP + DONE, TWO,
    ),
    OddStream(
        "BerriAI/litellm#12513", 'the name "null" in later pieces of a call',
        call(0, "a", "add", '{"x":') + call(0, "", "null", "1}") + STOP + DONE, {"tool_calls": CALL},
    ),
    OddStream(
        "BerriAI/litellm#22573", "reasoning under its old name",
        chunk(reasoning_content="hm") + HI + STOP + DONE, {"text": "Hi", "reasoning": "hm"},
    ),
    OddStream(
        "mistralai/mistral-vibe#793", "a space behind [DONE]",
        HI + YOU + STOP + "data: [DONE] \n\n", TWO,
    ),
]  # fmt: skip
TGI = [
    OddStream(
        "huggingface/huggingface_hub#1651", "an error as text, with its kind beside it",
        HI + data(error="out of memory", error_type="generation"),
        {"ok": False, "error_type": "server", "error_msg": "out of memory", "text": "Hi"},
    ),
    OddStream(
        "huggingface/huggingface_hub#2514", "too many tokens asked for, told in the stream",
        data(error="inputs and max_new_tokens must be <= 4096", error_type="validation"),
        {"ok": False, "error_type": "client", "error_msg": "must be <= 4096"},
    ),
    OddStream(
        "huggingface/text-generation-inference#2668", "an error with its status under a name of its own",
        data(error={"message": "inputs must be shorter", "http_status_code": 422}),
        {"ok": False, "error_type": "client", "error_msg": "inputs must be shorter"},
    ),
    OddStream(
        "huggingface/text-generation-inference#1648", "the index of a choice counts tokens",
        "".join(data(choices=[{"index": n, "delta": {"role": "assistant", "content": text}, "finish_reason": reason}])
                for n, text, reason in ((1, "Hi", None), (2, " you", "length"))) + DONE,
        {**TWO, "finish_reason": "length"},
    ),
    OddStream(
        "huggingface/text-generation-inference#2794", "a tool call token by token, without [DONE]",
        call(0, "", "add", '{"') + call(0, "", None, 'x":') + call(0, "", None, "1}") + chunk("eos_token"),
        {"tool_calls": CALL, "finish_reason": "eos_token", "stream_chunks": 3},
    ),
]  # fmt: skip
STREAMS = (*VLLM, *SGLANG, *LLAMA_CPP, *LITELLM, *TGI)
