"""A server that runs already, on any host, checked from outside; what only its own machine tells is named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from probes.console import printable
from probes.errors import EnginescopeError
from probes.metrics.endpoint import Endpoint
from probes.serve.checks.checks import Check, run_checks
from probes.serve.checks.expectations import Served, error
from probes.serve.client import NoAnswer, ask

NOT_SEEN = (
    "its log, and the phases of its start",
    "its memory: python -m probes.memory URL, on the machine where it runs, tells what it is made of",
)
REFUSED = (401, 403)


@dataclass(frozen=True)
class Visit:
    """What came of the checks of a server at `url`, asked for `model`."""

    url: str
    model: str
    max_len: int
    checks: list[Check]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not any(each.failed for each in self.checks)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        checks = {"checks": [asdict(each) for each in self.checks], "not_seen": NOT_SEEN}
        return {"passed": self.passed, "url": self.url, "model": self.model, "max_model_len": self.max_len, **checks}


def visit(at: Endpoint, model: str | None, max_len: int, key: str | None) -> Visit:
    """Ask everything; `max_len` tokens is the longest request where the server does not tell it."""
    served = listed_model(at, model, max_len, key)
    url = at.beside("")
    print(f"asks {url} for {printable(served.model)}", file=sys.stderr, flush=True)
    return Visit(url, served.model, served.max_len, list(run_checks(served)))


def listed_model(at: Endpoint, model: str | None, max_len: int, key: str | None) -> Served:
    """The model as `/v1/models` tells it, the first where none is named: adapters stand behind their model."""
    lengths = {name: length for name, length in _listed(at, key)}
    name = model or next(iter(lengths), None)
    if name is None or name not in lengths:
        known = printable(", ".join(lengths)) or "-"
        raise EnginescopeError(f"{at.beside('')} has no model {name or 'at all'}; it has: {known}")
    return Served(at, name, lengths[name] or max_len, alone=False, key=key)


def _listed(at: Endpoint, key: str | None) -> Iterator[tuple[str, int | None]]:
    """Each model's name and its longest request in tokens, None where the server does not say."""
    url = at.beside("/v1/models")
    try:
        answer = ask(at, "/v1/models", key=key)
    except NoAnswer as reason:
        raise EnginescopeError(f"no answer from {url}: {reason}; is the server up?") from None
    if answer.status != 200:
        advice = "; export OPENAI_API_KEY=… with the server's key" if answer.status in REFUSED else ""
        raise EnginescopeError(f"{url} answers {answer.status}: {printable(error(answer.body))}{advice}")
    try:
        yield from ((str(each["id"]), each.get("max_model_len")) for each in answer.body["data"])
    except (KeyError, TypeError, AttributeError):
        raise EnginescopeError(f"{url} lists no models as OpenAI's API does; is this a vLLM server?") from None
