"""Says of every sample its role, its thread, whether it works or waits, and which site and stage it is in.

A sample's stage is read off its own stack: the innermost function that is a site (`tracing.sites`). That needs no
clock, so it is right for stages far shorter than the clock's uncertainty. Where no frame tells, as in a model's own
forward, the clock decides: the innermost span of the thread that the sample is deeper in than the uncertainty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tracing.events.processfile import RecordedSite
from tracing.pyspy import lost, waitingframes
from tracing.pyspy.events import Stack
from tracing.pyspy.samples import Samples
from tracing.sites.engine import SITES, Site
from tracing.sites.site import ENCLOSING
from tracing.timeline.intervals import contains, union
from tracing.timeline.spans import Timeline, as_seen


@dataclass(frozen=True)
class Agreement:
    """How samples and spans fit: of the samples whose stack holds a site's function, how many lie in a span of it."""

    samples: int
    inside: int
    near: int  # inside, or no further from one than the clock's uncertainty

    @property
    def share(self) -> float | None:
        return self.inside / self.samples if self.samples else None


def attributed(samples: Samples, timeline: Timeline | None) -> pd.DataFrame:
    """The frame of samples that were really taken, with `role`, `thread_name`, `state` (`working` or what it waits
    for), `site` and `stage` ('' where none), and whether these are `by_stack`, or by the clock."""
    frame = lost.without(samples.frame, lost.lost_threads(samples, timeline))
    states = np.array([waitingframes.state(stack) for stack in samples.stacks], dtype=object)
    threads = pd.MultiIndex.from_frame(frame[["pid", "thread"]])
    thread_codes, known = threads.factorize()
    roles = _roles(samples, frame, timeline)
    frame["state"] = states[frame["stack"]]
    frame["role"] = _picked([roles[key] for key in known], thread_codes)
    frame["thread_name"] = _picked([samples.names.get(key, "") for key in known], thread_codes)
    codes, pairs = pd.MultiIndex.from_frame(frame[["role", "stack"]]).factorize()
    sites = [site_of(samples.stacks[stack], role) for role, stack in pairs]
    frame["site"] = _picked([site.name if site else "" for site in sites], codes)
    frame["stage"] = _picked(
        [stage_of(site, role) if site else "" for site, (role, _) in zip(sites, pairs, strict=True)], codes
    )
    frame["by_stack"] = frame["site"] != ""
    return by_clock(frame, timeline, samples.uncertainty_ns) if timeline and samples.uncertainty_ns >= 0 else frame


def _picked(texts: list[str], codes: np.ndarray) -> np.ndarray:
    return np.array([*texts, ""], dtype=object)[codes]


# --- whose thread ---


def _roles(samples: Samples, frame: pd.DataFrame, timeline: Timeline | None) -> dict[tuple[int, int], str]:
    """By thread: the role its stacks show, else that of its process: shown too, or said by its recorder."""
    rows = frame[["pid", "thread", "stack"]].drop_duplicates()
    entries = [waitingframes.entry(stack) for stack in samples.stacks]
    known = {
        (pid, thread): role
        for pid, thread, stack in rows.itertuples(index=False)
        if (role := entries[stack]) is not None
    }
    processes = {pid: role for (pid, _), role in known.items() if role in waitingframes.PROCESS_ROLES}
    recorded = {p.pid: p.serves[0] for p in timeline.processes if p.serves} if timeline else {}
    engines = {pid for pid, _, stack in rows.itertuples(index=False) if waitingframes.of_vllm(samples.stacks[stack])}
    return {
        (pid, thread): known.get((pid, thread))
        or recorded.get(pid)
        or processes.get(pid)
        or ("front end" if pid in engines else "other")
        for pid, thread in rows[["pid", "thread"]].drop_duplicates().itertuples(index=False)
    }


# --- which site ---


def _by_function() -> dict[waitingframes.Key, list[Site]]:
    """Sites by file and function, without those that wrap what their target loads."""
    sites: dict[waitingframes.Key, list[Site]] = {}
    for site in SITES:
        for target in site.targets if site.kind != "model" else ():
            module, _, function = target.partition(":")
            sites.setdefault((module.replace(".", "/") + ".py", function), []).append(site)
    return sites


FUNCTIONS = waitingframes.with_bare(_by_function())
# The sites that wrap the model which was loaded: its methods, in any of vLLM's models.
MODELS = "vllm/model_executor/models/"
METHODS = {"forward": "model.forward", "compute_logits": "model.logits"}


def site_of(stack: Stack, role: str) -> Site | None:
    """The innermost site on a stack; of sites that share a function the role's own."""
    for frame in reversed(stack):
        if sites := FUNCTIONS.get((frame.file, frame.name)):
            return next((site for site in sites if site.role == role), sites[0])
        if frame.file.startswith(MODELS) and (name := METHODS.get(frame.name.rpartition(".")[2])):
            return next(site for site in SITES if site.name == name)
    return None


def stage_of(site: Site, role: str) -> str:
    """The stage of a site in a process of this role."""
    return as_seen(RecordedSite.of(site), (role,)).stage


def by_clock(frame: pd.DataFrame, timeline: Timeline, uncertainty_ns: int) -> pd.DataFrame:
    """Give samples without a site that of the innermost span which holds them and the uncertainty on both sides."""
    spans = timeline.spans
    long = spans[(spans["end_ns"] - spans["start_ns"] > 2 * uncertainty_ns) & ~spans["share"].isin(ENCLOSING)]
    rest = frame[frame["site"] == ""]
    groups = dict(list(rest.groupby(["pid", "thread"], sort=False)["time_ns"]))
    site, stage = frame["site"].to_numpy(copy=True), frame["stage"].to_numpy(copy=True)
    for key, rows in long.groupby(["pid", "thread"], sort=False):
        if key not in groups:
            continue
        times, places = groups[key].to_numpy(), groups[key].index.to_numpy()
        first = np.searchsorted(times, rows["start_ns"] + uncertainty_ns)
        last = np.searchsorted(times, rows["end_ns"] - uncertainty_ns, "right")
        for low, high, name, its_stage in zip(first, last, rows["site"], rows["stage"], strict=True):
            site[places[low:high]], stage[places[low:high]] = name, its_stage  # an inner span starts later: it wins
    return frame.assign(site=site, stage=stage)


# --- the check ---


def agreement(frame: pd.DataFrame, timeline: Timeline, uncertainty_ns: int, shift_ns: int = 0) -> Agreement:
    """Hold samples that their stacks put in a site against that site's spans; `shift_ns` moves all samples.

    A call that its process did not outlive has no span: samples after the last span of their thread are not counted.
    """
    ended = timeline.spans.groupby(["pid", "thread"])["end_ns"].max().rename("last_ns")
    ours = frame[frame["by_stack"] & (frame["site"] != "")].join(ended, on=["pid", "thread"])
    ours = ours[ours["time_ns"] <= ours["last_ns"]]
    groups = dict(list(timeline.spans.groupby(["pid", "thread", "site"], observed=True, sort=False)))
    samples = inside = near = 0
    for key, rows in ours.groupby(["pid", "thread", "site"], sort=False):
        if key not in groups:
            continue
        starts = groups[key]["start_ns"].to_numpy()
        ends = groups[key]["end_ns"].to_numpy()
        times = rows["time_ns"].to_numpy() + shift_ns
        samples += len(times)
        inside += _within(times, starts, ends, 0)
        near += _within(times, starts, ends, max(uncertainty_ns, 0))
    return Agreement(samples, inside, near)


def _within(times: np.ndarray, starts: np.ndarray, ends: np.ndarray, slack_ns: int) -> int:
    widened = union(starts - slack_ns, ends + slack_ns + 1)  # the last instant of a span is one of it here
    return int(np.count_nonzero(contains(widened, times)))


def by_time(frame: pd.DataFrame, *columns: str) -> pd.Series:
    """Seconds by the values of some columns, the longest first."""
    return frame.groupby(list(columns), sort=False)["weight_ns"].sum().sort_values(ascending=False) / 1e9


def serving_ns(timeline: Timeline) -> tuple[int, int]:
    """From when the core first waited for requests to the end of the last span; (0, 0) where no core was recorded."""
    spans = timeline.spans[timeline.spans["site"] != "gc"]
    loop = spans[spans["site"].isin(("core.input_queue", "core.engine_step", "core.step"))]
    return (int(loop["start_ns"].min()), int(spans["end_ns"].max())) if len(loop) else (0, 0)


def serving(frame: pd.DataFrame, timeline: Timeline | None) -> pd.DataFrame:
    """The samples without the engine's start and end; all of them where neither is known."""
    start, end = serving_ns(timeline) if timeline is not None else (0, 0)
    return frame[frame["time_ns"].between(start, end)] if end else frame
