"""How far a batch has come: a line that renews itself on a terminal, a line now and then in a log."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from probes.batch.record import Record

TERMINAL_S = 0.5
LOG_S = 10.0
NOT_FOUND = 404


class Progress:
    """Counts of a batch with `total` prompts, of which `before` had an answer when it began."""

    def __init__(self, total: int, before: int) -> None:
        self.total, self.before = total, before
        self.ok = self.retried = self.tokens = self.uncounted = 0
        self.errors: Counter[str] = Counter()
        self._first: dict[str, Record] = {}  # the first failure of each class
        self._began = time.monotonic()

    def count(self, record: Record) -> None:
        """Note a settled prompt."""
        self.ok += record.ok
        self.retried += record.attempts > 1
        self.tokens += record.completion_tokens or 0
        self.uncounted += record.ok and record.completion_tokens is None
        if record.error_type:
            self.errors[record.error_type] += 1
            self._first.setdefault(record.error_type, record)

    @property
    def failed(self) -> int:
        """Prompts without an answer at the end."""
        return self.errors.total()

    def line(self) -> str:
        """Where it stands now; the time left is an estimate."""
        settled, spent_s = self.ok + self.failed, time.monotonic() - self._began
        parts = [f"{self.before + settled}/{self.total}", self._failures()]
        if settled:
            left_s = (self.total - self.before - settled) * spent_s / settled
            parts += [f"{settled / spent_s:.1f} prompts/s", f"about {left_s:,.0f} s left"]
        return "  ".join(part for part in parts if part)

    @property
    def is_anything_missing(self) -> bool:
        """Whether a first failure says that there is no such thing (404), which is most often the model's name."""
        return any(record.status_code == NOT_FOUND for record in self._first.values())

    def summary(self, model_names: Sequence[str] = ()) -> str:
        """The counts, then a line for each class of failures with the first one's words.

        `model_names` are those that the server has; they stand beside a 404.
        """
        spent_s = time.monotonic() - self._began
        earlier = f" ({self.before} answered before)" if self.before else ""
        parts = [
            f"{self.ok} of {self.total - self.before} prompts answered{earlier} in {spent_s:.1f} s",
            self._failures(),
        ]
        if self.ok:
            parts.append(f"{self.ok / spent_s:.1f} prompts/s")
        if self.tokens:
            least = f"at least ({self.uncounted} answers have no count) " if self.uncounted else ""
            parts.append(f"{least}{self.tokens / spent_s:.1f} tok/s out")
        if self.retried:
            parts.append(f"{self.retried} sent more than once")
        words = [self._first_words(kind, model_names) for kind, _ in self.errors.most_common()]
        return "\n".join((", ".join(part for part in parts if part), *words))

    def _first_words(self, kind: str, model_names: Sequence[str]) -> str:
        """`  client 24, the first: 404: The model `m` does not exist.; valid names: smollm2`."""
        record = self._first[kind]
        names = f"; valid names: {', '.join(model_names)}" if record.status_code == NOT_FOUND and model_names else ""
        return f"  {kind} {self.errors[kind]:,}, the first: {record.error_msg}{names}"

    def _failures(self) -> str:
        if not self.errors:
            return ""
        kinds = ", ".join(f"{kind} {count}" for kind, count in self.errors.most_common())
        return f"{self.failed} failed ({kinds})"

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show the line while the block runs, from the event loop."""
        show = asyncio.create_task(self._show(sys.stderr.isatty()))
        try:
            yield
        finally:
            show.cancel()
            if sys.stderr.isatty():
                print("\r\x1b[K", end="", file=sys.stderr)

    async def _show(self, terminal: bool) -> None:
        while True:
            await asyncio.sleep(TERMINAL_S if terminal else LOG_S)
            if terminal:
                print(f"\r\x1b[K{self.line()}", end="", file=sys.stderr, flush=True)
            else:
                print(self.line(), file=sys.stderr, flush=True)
