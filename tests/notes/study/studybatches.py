"""Records of batches over the sample prompts, as a learner's client writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from notes.study.exercises.batchfile import prompts
from probes.batch.record import Record

FAILURES = ("server", None, "timeout", None, None, "server", None, "timeout", None, "client")  # of every ten prompts


def record(line: int, error: str | None, attempts: int, stream: bool) -> Record:
    """One prompt's record: 0.4 s whole; of a stream the first chunk after 0.1 s."""
    return Record(
        **{"id": str(line), "line": line, "line_crc32": line, "mode": "chat", "model": "stub", "stream": stream},
        **{"began_s": 0.0, "ok": error is None, "scheduled_s": 1.0, "sent_s": 1.0, "ended_s": 1.4, "latency_s": 0.4},
        **{"ttft_s": 0.1 if stream else None, "itl": [0.1, 0.2] if stream else [], "status_code": 200},
        **{"error_type": error, "error_msg": error, "attempts": attempts, "stream_chunks": 3 if stream else 0},
        **{"prompt_tokens": 5, "cached_tokens": None, "completion_tokens": 3, "finish_reason": "stop"},
        **{"text": "A B C", "reasoning": "", "tool_calls": []},
    )


def write(
    path: Path, failures: Sequence[str | None] = (None,), attempts: Sequence[int] = (1,), stream: bool = False
) -> None:
    """A record for each prompt; failures and attempts are repeated in turn."""
    lines = [
        record(at + 1, failures[at % len(failures)], attempts[at % len(attempts)], stream).json()
        for at in range(prompts())
    ]
    path.write_bytes(b"".join(lines))


def write_all(folder: Path) -> None:
    """The files that the right answers name."""
    write(folder / "whole.jsonl")
    write(folder / "streamed.jsonl", stream=True)
    write(folder / "before.jsonl", FAILURES)
    refused = [error if error == "client" else None for error in FAILURES]
    write(folder / "after.jsonl", refused, [2 if error in ("server", "timeout") else 1 for error in FAILURES])
