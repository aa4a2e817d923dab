"""The batch client asking the server that does everything wrong: one prompt, or some."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from probes.batch.__main__ import address
from probes.batch.record import Record
from probes.batch.sending import Settings, run
from probes.client.watch import Limits
from probes.prompts.files import read
from tests.probes.client.stub_exchange import REPLY

ROOT = Path(__file__).resolve().parents[3]
KEY = "sk-a-secret-of-some-length"
ANSWER = "hello you: " + "".join(REPLY)
QUICK = Limits(connect_s=2, first_token_s=0.3, gap_s=0.3, total_s=5)


def settings(url: str, way: str, mode: str = "chat", **other: Any) -> Settings:
    given: dict[str, Any] = {
        "url": address(f"{url}/{way}/v1", mode)[0],
        "model": "m",
        "mode": mode,
        "stream": True,
        "max_tokens": None,
        "concurrency": 4,
        "rate": None,
        "arrivals": "poisson",
        "retries": 0,
        "limits": QUICK,
        "trust_env": False,
    }
    return Settings(**{**given, **other})


def ask(
    url: str, way: str, tmp_path: Path, prompts: tuple[str, ...] = ("hello you",), key: str | None = None, **other: Any
) -> list[Record]:
    """The records of a batch."""
    asked = settings(url, way, **other)
    path = tmp_path / f"prompts-{time.monotonic_ns()}.txt"
    path.write_text("\n".join(prompts) + "\n")
    records: list[Record] = []
    asyncio.run(run(asked, key, read(path), records.append))
    return records


def ask_one(url: str, way: str, tmp_path: Path, **other: Any) -> Record:
    # The stub counts requests by their body: another prompt for each test is another count.
    (record,) = ask(url, way, tmp_path, (f"hello you {time.monotonic_ns()}",), **other)
    return record
