"""The schedules of a run: drawn from its workload for the rates asked for, or those of another run."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from offline.load.planning.arrivals import RECORDED, arrival_scatter, arrival_times, replayed_times
from offline.load.planning.schedule import (
    CLOSED,
    Schedule,
    ScheduleHead,
    make_schedule,
    read_schedule,
    refuse_other_model,
    schedule_name,
)
from offline.load.planning.spec import LoadSpec
from offline.spec import model as models
from offline.spec.limits import model_positions
from offline.traffic.knee import least_requests, most_requests
from offline.workload.items import Item
from offline.workload.source import WorkloadSource, arrivals_s
from offline.workload.tokenizer import tokenizer_digest
from probes.errors import usage_error
from probes.memory.footprint import model_folder

CLOSED_REQUESTS_S = 10  # requests a second that a closed level has in store: more than one at a time can be


def schedule_head(spec: LoadSpec, model: Path | str, source: WorkloadSource) -> ScheduleHead:
    """What all schedules of a run have in common."""
    tokenizer = tokenizer_digest(str(model))
    if source.tokenizer not in (None, tokenizer):
        raise usage_error(f"--workload {spec.workload} holds token ids of another model: make it anew for this one")
    return ScheduleHead(
        model=models.label(model),
        tokenizer=tokenizer,
        vocabulary=vocabulary(model),
        arrivals=spec.arrivals,
        rate_req_s=None,
        duration_s=spec.duration_s,
        burstiness=spec.burstiness,
        seed=spec.seed,
        profile=source.name,
        synthetic=source.synthetic,
    )


def make_schedules(spec: LoadSpec, source: WorkloadSource, head: ScheduleHead, model: Path | str) -> Iterator[Schedule]:
    """One schedule a rate, and the closed level first; request n asks for the same lengths in each."""
    times_s = [0.0] * max(20, int(CLOSED_REQUESTS_S * spec.duration_s))
    yield make_schedule(replace(head, arrivals=CLOSED), times_s, fitting(source, head, model))
    for rate in sorted(spec.rates) if not spec.knee else ():
        yield rate_schedule(source, replace(head, rate_req_s=rate), rate, model)


def rate_schedule(source: WorkloadSource, head: ScheduleHead, rate_req_s: float, model: Path | str) -> Schedule:
    """The requests of a rate: a recording's own at their times, else drawn ones at drawn times.

    A recording that ends before the duration ends it, so that no rate is counted over a time in which nothing comes.
    """
    if head.arrivals != RECORDED:
        seed = int.from_bytes(hashlib.sha256(f"{head.seed}/{rate_req_s}".encode()).digest()[:6], "big")
        times_s = arrival_times(head.arrivals, rate_req_s, head.duration_s, seed, head.burstiness)
        return make_schedule(head, times_s, fitting(source, head, model))
    items = recorded_items(source, model)
    times_s = replayed_times(arrivals_s(items), rate_req_s, head.duration_s)
    end_s = times_s[-1] + 1 / rate_req_s if len(times_s) == len(items) else head.duration_s
    return make_schedule(replace(head, duration_s=min(head.duration_s, end_s)), times_s, items)


def recorded_items(source: WorkloadSource, model: Path | str) -> list[Item]:
    """The items of a recording that the model can hold, in the order in which they came."""
    longest = longest_request(model)
    return [item for item in source.recording if _tokens(item) <= longest]


def as_recorded(spec: LoadSpec, source: WorkloadSource, model: Path | str) -> LoadSpec:
    """What is asked for, at the recording's own rate and for its own time where no rate is named.

    Refused where it is a search that needs more requests than were recorded.
    """
    times_s = arrivals_s(recorded_items(source, model))
    if spec.knee and len(times_s) < (least := least_requests(search_scatter(spec, source))):
        raise usage_error(
            f"--knee tries rates with {least:,} requests or more, and {source.name} recorded {len(times_s)}: "
            "choose other --arrivals"
        )
    if spec.knee or spec.rates:
        return spec
    if len(times_s) < 2 or times_s[0] == times_s[-1]:
        raise usage_error(f"{source.name} recorded no two arrivals at different times: name --rates")
    span_s = times_s[-1] - times_s[0]
    rate = (len(times_s) - 1) / span_s
    return replace(spec, rates=(rate,), duration_s=min(spec.duration_s, span_s + 1 / rate))


def longest_request(model: Path | str) -> int:
    """The most tokens that a request may have, prompt and output together."""
    return model_positions(model) or sys.maxsize


def fitting(source: WorkloadSource, head: ScheduleHead, model: Path | str) -> Iterator[Item]:
    """The items that the model can hold; a workload of which it holds none is refused."""
    longest = longest_request(model)
    items = source.draw(head.seed)
    first = next((item for item in itertools.islice(items, 10_000) if _tokens(item) <= longest), None)
    if first is None:
        raise usage_error(f"no request of {source.name} fits into the model's {longest} positions")
    return itertools.chain([first], (item for item in items if _tokens(item) <= longest))


def search_scatter(spec: LoadSpec, source: WorkloadSource) -> float:
    """What the requests of a search's trials are counted for: the scatter of the arrivals, at least of Poisson ones."""
    return max(1.0, arrival_scatter(spec.arrivals, spec.burstiness, source.arrivals_s))


def longest_searched(spec: LoadSpec, source: WorkloadSource, head: ScheduleHead, model: Path | str) -> int:
    """Tokens of the longest request that a search for the knee may send; 0 where none is asked for."""
    if not spec.knee:
        return 0
    is_replay = spec.arrivals == RECORDED
    items: Iterable[Item] = recorded_items(source, model) if is_replay else fitting(source, head, model)
    return max(map(_tokens, itertools.islice(items, most_requests(search_scatter(spec, source)))))


def _tokens(item: Item) -> int:
    return item.input_tokens + item.output_tokens


def read_schedules(folder: Path, spec: LoadSpec, head: ScheduleHead) -> list[Schedule]:
    """The schedules of another run, for the rates asked for and one at a time."""
    plans = []
    for rate in (None, *sorted(spec.rates)):
        path = folder / f"{schedule_name(rate)}.jsonl"
        plans.append(read_schedule(path))
        refuse_other_model(plans[-1], path, head.model, head.tokenizer)
    return plans


def as_replayed(spec: LoadSpec, plans: list[Schedule]) -> LoadSpec:
    """What is asked for, with the duration, the arrivals and the seed that replayed schedules were made with."""
    last = plans[-1].head
    return replace(
        spec,
        duration_s=max(plan.head.duration_s for plan in plans),
        arrivals=spec.arrivals if last.rate_req_s is None else last.arrivals,
        burstiness=last.burstiness,
        seed=last.seed,
    )


def vocabulary(model: Path | str) -> int:
    """The number of token ids, by the model's configuration."""
    folder = model_folder(str(model))
    if folder is None:
        raise usage_error(f"--model {model}: not in the hub's cache; fetch it first, or name a folder")
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return int((config.get("text_config") or config)["vocab_size"])
