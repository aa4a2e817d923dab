"""What the prefix cache gave the requests, and what evictions and preemptions cost: tokens that were computed again."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from probes.columns import column
from tracing.timeline.spans import Timeline
from tracing.timeline.steps.admissions import KEYS

MOST_SHOWN = 10
NOT_KNOWN = "not known"
OWN_BLOCKS = "KV blocks for itself"


@dataclass(frozen=True)
class PrefixCacheUse:
    """A row of `prefix_cache`: the requests that a core admitted."""

    core_pid: int = field(metadata=column("the core's process"))
    requests: int = field(metadata=column("admitted, each counted once", "requests"))
    prompt_tokens: int = field(metadata=column("of their prompts", "tokens"))
    found_tokens: int = field(metadata=column("of these, in the prefix cache when they were admitted", "tokens"))
    evicted_blocks: int | None = field(
        metadata=column("cached ones that were taken for other content; null: not known", "blocks")
    )
    evicted_tokens: int = field(
        metadata=column("of the prompts, computed though they had been cached: evicted; at least", "tokens")
    )
    preemptions: int = field(metadata=column("requests that lost their KV blocks", "requests"))
    preempted_tokens: int = field(metadata=column("computed again after that, as far as it is known", "tokens"))


@dataclass(frozen=True)
class Preemption:
    """A row of `preemptions`: a request that lost its KV blocks; those that cost most, at most ten."""

    request: str = field(metadata=column("the internal id of the victim"))
    core_pid: int = field(metadata=column("the core's process"))
    step: int = field(metadata=column("in whose scheduling it was"))
    start_ns: int = field(metadata=column("when", "ns of CLOCK_MONOTONIC"))
    cause: str = field(metadata=column("for whom blocks were missing; not known: nobody was refused before it"))
    held_tokens: int | None = field(
        metadata=column("found for it and computed of it since its admission; null: that was not recorded", "tokens")
    )
    again_tokens: int | None = field(
        metadata=column("of these, computed again; null: it was not admitted again, or as above", "tokens")
    )
    wait_ns: int | None = field(
        metadata=column("until the step that had it again; null: it was not admitted again", "ns")
    )


def prefix_cache(
    timeline: Timeline, steps: pd.DataFrame, admitted: pd.DataFrame, victims: tuple[Preemption, ...]
) -> tuple[PrefixCacheUse, ...]:
    """A row a core that admitted a request, or preempted one, in these steps (a frame of `anatomy`).

    `admitted` are all `admissions` of the trace, `victims` all `preemptions` in these steps.
    """
    within = steps[["pid", "step", "kv_evicted_blocks"]]
    first = admitted[admitted["place"] == 0].merge(within[["pid", "step"]], on=["pid", "step"])
    cores = sorted({int(pid) for pid in first["pid"]} | {each.core_pid for each in victims})
    prompts = _prompt_tokens(timeline)
    rows = []
    for core in cores:
        mine, of_core = first[first["pid"] == core], [each for each in victims if each.core_pid == core]
        evicted = within.loc[within["pid"] == core, "kv_evicted_blocks"]
        rows.append(
            PrefixCacheUse(
                core_pid=core,
                requests=len(mine),
                prompt_tokens=int(mine["request"].map(prompts).fillna(0).sum()),
                found_tokens=int(mine["found"].sum()),
                evicted_blocks=int(evicted.sum()) if (evicted >= 0).all() else None,
                evicted_tokens=int(mine["evicted"].sum()),
                preemptions=len(of_core),
                preempted_tokens=sum(each.again_tokens or 0 for each in of_core),
            )
        )
    return tuple(rows)


def costliest(victims: tuple[Preemption, ...]) -> tuple[Preemption, ...]:
    """Of some preemptions those that the review shows."""
    return tuple(sorted(victims, key=lambda each: -(each.again_tokens or 0))[:MOST_SHOWN])


def preemptions(timeline: Timeline, steps: pd.DataFrame, admitted: pd.DataFrame) -> tuple[Preemption, ...]:
    """Every preemption in these steps (a frame of `anatomy`), in order; `admitted` are all `admissions`."""
    spans = timeline.spans
    rows = spans[(spans["site"] == "scheduler.preempt") & spans["request"].notna()]
    rows = rows.merge(steps[["pid", "step"]], on=["pid", "step"])
    if not len(rows):
        return ()
    causes, lives = _causes(timeline, rows), _Lives(timeline, rows, admitted)
    return tuple(
        lives.preemption(row.request, int(row.pid), int(row.step), int(row.start_ns), int(row.value), cause)
        for row, cause in zip(rows.itertuples(), causes, strict=True)
    )


class _Lives:
    """The admissions of the requests that were preempted, the tokens that they were scheduled, and when steps began."""

    def __init__(self, timeline: Timeline, victims: pd.DataFrame, admitted: pd.DataFrame) -> None:
        names = set(victims["request"].astype(str))
        batches, spans = timeline.batches, timeline.spans
        self.none = admitted[:0]
        self.admissions = dict(tuple(admitted[admitted["request"].isin(names)].groupby(KEYS)))
        self.schedules = dict(tuple(batches[batches["request"].isin(names)].groupby(KEYS, observed=True)))
        calls = spans[spans["site"] == "scheduler.schedule"]
        self.starts = dict(zip(zip(calls["pid"], calls["step"], strict=True), calls["start_ns"], strict=True))

    def preemption(self, request: str, core: int, step: int, start_ns: int, computed: int, cause: str) -> Preemption:
        """What a request held when it lost its blocks, and what it had of that when it was admitted again.

        An older trace does not say what it had `computed` (0): what was scheduled of it holds rejected drafts too.
        """
        admitted = self.admissions.get((core, request), self.none)
        before, after = admitted[admitted["step"] < step], admitted[admitted["step"] >= step]
        held, again, wait_ns = computed or None, None, None
        if len(before) and held is None:
            ran = self.schedules[core, request]
            since = ran[(ran["step"] >= before["step"].iloc[-1]) & (ran["step"] < step)]
            held = int(since["tokens"].sum() + before["found"].iloc[-1])
        if len(after):
            again = None if held is None else max(held - int(after["found"].iloc[0]), 0)
            wait_ns = max(int(self.starts.get((core, int(after["step"].iloc[0])), start_ns)) - start_ns, 0)
        return Preemption(request, core, step, start_ns, cause, held, again, wait_ns)


def _causes(timeline: Timeline, victims: pd.DataFrame) -> list[str]:
    """For whom blocks were missing when each victim was chosen: the last that was refused before it in its step."""
    spans = timeline.spans
    refused = spans[(spans["site"] == "kv.allocate") & (spans["extra"] == 1)]
    refused = refused[["pid", "step", "end_ns", "request"]].rename(columns={"request": "by"}).sort_values("end_ns")
    chosen = victims[["pid", "step", "start_ns", "request"]].rename(columns={"start_ns": "end_ns"}).reset_index()
    pairs = pd.merge_asof(chosen.sort_values("end_ns"), refused, on="end_ns", by=["pid", "step"]).sort_values("index")
    return [
        NOT_KNOWN if pd.isna(by) else OWN_BLOCKS if by == victim else f"KV blocks for {by}"
        for by, victim in zip(pairs["by"].astype(object), pairs["request"].astype(object), strict=True)
    ]


def _prompt_tokens(timeline: Timeline) -> dict[str, int]:
    spans = timeline.spans
    taken = spans[(spans["site"] == "core.add_request") & spans["request"].notna()]
    return dict(zip(taken["request"].astype(str), taken["value"].astype(int), strict=True))
