"""An OpenAI-compatible server as a variant: the same requests through the client of `probes.batch`, as token ids."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.request import ProxyHandler, build_opener

from offline.load.records import StepLine
from offline.records.resolved import UNKNOWN
from offline.spec.settings import EngineSettings
from offline.variants.serving import Ending, Receive, ScheduledRequest
from probes.client.attempt import Attempt
from probes.client.client import Client
from probes.client.watch import Limits
from probes.errors import EnginescopeError
from probes.jsonform import encoded

PATIENCE_S = 10.0
LIMITS = Limits(connect_s=10.0, first_token_s=3600.0, gap_s=3600.0, total_s=3600.0)  # the rate's end gives up


class ServerServing:
    """`base_url` ends before `/completions`; the first model of its list is asked. What it resolved is not known."""

    def __init__(self, base_url: str, trust_env: bool = False) -> None:
        self.model, longest = first_model(f"{base_url}/models", trust_env)
        self.resolved = replace(UNKNOWN, max_model_len=longest)
        self.vocabulary = 0
        self._url, self._trust_env = f"{base_url}/completions", trust_env
        self._client: Client | None = None

    async def submit(self, request: ScheduledRequest, receive: Receive) -> Ending:
        """Ask for exactly `output_tokens` tokens in a stream; a chunk of unknown size counts as one token."""
        if self._client is None:  # here, where the event loop runs
            self._client = Client(self._url, {}, self._trust_env)
        attempt = Attempt(lambda now_ns, tokens: receive(now_ns, tokens or 1))
        await attempt.run(self._client, self._body(request), True, LIMITS)
        if attempt.refused is not None:
            return Ending("failed", error=str(attempt.refused), sent_ns=attempt.sent_ns)
        answer = attempt.answer
        return Ending(answer.finish_reason or "stop", answer.cached_tokens, sent_ns=attempt.sent_ns)

    def _body(self, request: ScheduledRequest) -> bytes:
        tokens = request.output_tokens
        values = {"model": self.model, "prompt": request.prompt_token_ids, "max_tokens": tokens, "min_tokens": tokens}
        values |= {"ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}}
        values |= {"return_token_ids": True, "temperature": 0.0, **request.sampling}
        return encoded(values)

    async def reset(self) -> bool:
        """False: a server's prefix cache is not ours to empty, and each rate has prompts of its own."""
        return False

    def steps(self) -> tuple[list[StepLine], int]:
        """None are known."""
        return [], 0

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()


def first_model(address: str, trust_env: bool) -> tuple[str, int | None]:
    """The name of the first model that a server lists, and its longest request where it says so."""
    opener = build_opener(*([] if trust_env else [ProxyHandler({})]))
    try:
        with opener.open(address, timeout=PATIENCE_S) as answer:
            model = json.load(answer)["data"][0]
        longest = model.get("max_model_len")
        return str(model["id"]), longest if isinstance(longest, int) else None
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        words = " ".join(str(error).split())[:200]
        raise EnginescopeError(f"{address} lists no model ({words}): is this an OpenAI-compatible server?") from None


def start_serving(settings: EngineSettings) -> ServerServing:
    """A client of the server at `base_url`."""
    return ServerServing(str(settings["base_url"]).rstrip("/"), bool(settings.get("trust_env", False)))
