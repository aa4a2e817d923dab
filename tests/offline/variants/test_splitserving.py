"""Two engines for one request: what each is asked, and what is noted of both."""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from enginescope_plugin import STEP_LOG
from offline.variants.serving import Ending, Receive, ScheduledRequest

REQUEST = ScheduledRequest(3, 0.0, (11, 12, 13), 4)


class OneEngine:
    """Answers at once; `refuses` is how its requests end. All of them are in `engines`."""

    engines: list[OneEngine]
    refuses: str | None = None

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings, self.lengths, self.resets = settings, list[int](), 0
        self.resolved, self.vocabulary = None, 1000
        self.engines.append(self)

    def start_facts(self) -> dict[str, Any]:
        return {"memory": len(self.engines)}

    async def submit(self, request: ScheduledRequest, receive: Receive) -> Ending:
        self.lengths.append(request.output_tokens)
        if self.refuses:
            return Ending("failed", error=self.refuses)
        for _ in range(request.output_tokens):
            receive(time.monotonic_ns(), 1)
        return Ending("length", queued_ns=len(self.engines), started_ns=len(self.engines) + 1, cached_tokens=2)

    async def reset(self) -> bool:
        self.resets += 1
        return True

    def close(self) -> None:
        self.lengths.append(-1)


@pytest.fixture
def split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module, whose engines are those above."""
    OneEngine.engines, OneEngine.refuses = [], None
    monkeypatch.setenv(STEP_LOG, str(tmp_path))
    monkeypatch.setitem(sys.modules, "offline.variants.vllmserving", SimpleNamespace(VllmServing=OneEngine))
    sys.modules.pop("offline.variants.splitserving", None)
    yield importlib.import_module("offline.variants.splitserving")
    sys.modules.pop("offline.variants.splitserving", None)


def test_the_first_engine_computes_the_prompt_and_the_second_gives_every_token(split: ModuleType) -> None:
    serving = split.start_serving({"block_size": 32})
    first, second = OneEngine.engines
    assert first.settings == second.settings and first.settings["kv_transfer_config"]["kv_connector"] == split.CONNECTOR
    times: list[int] = []
    ending = asyncio.run(serving.submit(REQUEST, lambda now_ns, _: times.append(now_ns)))
    assert (first.lengths, second.lengths, len(times)) == ([1], [4], 4)
    assert ending.prefilled_ns is not None and ending.prefilled_ns <= times[0]
    assert (ending.queued_ns, ending.finish, ending.cached_tokens) == (2, "length", 2)
    assert serving.steps() == ([], 0)


def test_a_request_that_the_first_engine_refuses_does_not_reach_the_second(split: ModuleType) -> None:
    serving = split.start_serving({})
    OneEngine.refuses = "too long"
    ending = asyncio.run(serving.submit(REQUEST, lambda *_: None))
    assert (ending.finish, ending.error, ending.prefilled_ns) == ("failed", "too long", None)
    assert OneEngine.engines[1].lengths == []


def test_a_reset_forgets_what_lies_between_them_too_and_the_end_is_that_of_both(split: ModuleType) -> None:
    serving = split.start_serving({})
    store = Path(OneEngine.engines[0].settings["kv_transfer_config"]["kv_connector_extra_config"][split.FOLDER])
    (store / "0123").mkdir()
    assert asyncio.run(serving.reset()) and [*store.iterdir()] == []
    assert [engine.resets for engine in OneEngine.engines] == [1, 1]
    serving.close()
    assert [engine.lengths for engine in OneEngine.engines] == [[-1], [-1]]
