"""The schedule of a rate: which request is due when. A file, made once and replayed on every variant.

JSON lines: a head, then a request a line, in the order of their times.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from offline.records.runfolder import write_whole
from offline.variants.serving import ScheduledRequest
from offline.workload.items import Item
from offline.workload.tokens import TokenDraw
from probes.errors import EnginescopeError, usage_error
from probes.jsonform import read_record

SCHEMA = 1
CLOSED = "one-at-a-time"  # a level's kind and file: the next request is sent when the last one has ended
ONE_AT_A_TIME = "one at a time"  # what people read of it


@dataclass(frozen=True)
class ScheduleHead:
    """What a schedule was made for, and how."""

    model: str
    tokenizer: str  # a digest, so that no other model's token ids are replayed
    vocabulary: int
    arrivals: str  # poisson, gamma, constant, recorded or one-at-a-time
    rate_req_s: float | None  # None: one at a time
    duration_s: float
    burstiness: float
    seed: int
    profile: str
    synthetic: bool


@dataclass(frozen=True)
class Schedule:
    """A head and its requests, whose times never go back."""

    head: ScheduleHead
    requests: tuple[ScheduledRequest, ...]

    @property
    def name(self) -> str:
        """The file's name without its suffix: the rate, or one-at-a-time."""
        return schedule_name(self.head.rate_req_s)

    @property
    def longest(self) -> int:
        """Tokens of the longest request, prompt and output together."""
        return max((len(each.prompt_token_ids) + each.output_tokens for each in self.requests), default=0)


def schedule_name(rate_req_s: float | None) -> str:
    """The name of a level's schedule, as that of a file."""
    return CLOSED if rate_req_s is None else f"{rate_req_s:g}"


def level_name(rate_req_s: float | None, unit: str = "") -> str:
    """A level as people read it: `8`, `8 req/s`, or `one at a time`."""
    return ONE_AT_A_TIME if rate_req_s is None else f"{rate_req_s:g} {unit}".rstrip()


def make_schedule(head: ScheduleHead, times_s: Sequence[float], items: Iterable[Item]) -> Schedule:
    """Join arrival times and items of a workload, one each; token ids that an item leaves open come from the seed."""
    tokens = TokenDraw(head.vocabulary, head.seed, head.rate_req_s)
    requests = [
        ScheduledRequest(number, round(at_s, 9), tokens.prompt(item), item.output_tokens, dict(item.sampling))
        for number, (at_s, item) in enumerate(zip(times_s, items, strict=False))
    ]
    return Schedule(head, tuple(requests))


def write_schedule(path: Path, schedule: Schedule) -> None:
    """Write a schedule whole."""
    lines = [json.dumps({"schema": SCHEMA, **asdict(schedule.head)})]
    lines += [json.dumps(asdict(request), separators=(",", ":")) for request in schedule.requests]
    write_whole(path, "\n".join(lines) + "\n")


def read_schedule(path: Path) -> Schedule:
    """A schedule from its file; `EnginescopeError` where it is none, or one of another schema."""
    try:
        head, *lines = (json.loads(line) for line in path.read_text().splitlines())
        schema = head.pop("schema", None)
        if schema != SCHEMA:
            raise EnginescopeError(f"{path} has schema {schema}, this version reads {SCHEMA}: make the schedule anew")
        requests = tuple(read_record(ScheduledRequest, line) for line in lines)
        schedule = Schedule(read_record(ScheduleHead, head), requests)
    except OSError as error:
        raise usage_error(f"cannot read the schedule {path}: {error.strerror}") from None
    except (ValueError, AttributeError, TypeError) as error:
        raise EnginescopeError(f"{path} is not a whole schedule: {error}") from None
    if any(later.at_s < earlier.at_s for earlier, later in pairwise(requests)):
        raise EnginescopeError(f"{path} is not a schedule: its times go back")
    return schedule


def refuse_other_model(schedule: Schedule, path: Path, model: str, tokenizer: str) -> None:
    """Refuse a schedule whose token ids belong to another model."""
    if schedule.head.tokenizer != tokenizer:
        raise usage_error(
            f"{path} was made for {schedule.head.model}, whose tokenizer is not that of {model}: "
            "leave --schedules out to make schedules for this model"
        )
