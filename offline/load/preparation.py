"""A load run made ready to be measured: shared settings, schedules, an estimate; or an unfinished run."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from offline.load.arrivals import RECORDED, arrival_times, replayed_times
from offline.load.folder import LoadFolder, LoadRun, newest_unfinished, read_load_run
from offline.load.schedule import (
    CLOSED,
    Schedule,
    ScheduleHead,
    make_schedule,
    read_schedule,
    refuse_other_model,
    schedule_name,
)
from offline.load.spec import LoadSpec
from offline.records.run import new_id, now
from offline.spec import model as models
from offline.spec.limits import model_positions
from offline.variants.builtin import DEFAULT, built_in, lacking
from offline.variants.variant import SERVER, TORCH, VLLM, Variant, alike, chosen, read_variants
from offline.workload.files import read_workload
from offline.workload.items import Item
from offline.workload.source import WorkloadSource
from offline.workload.tokenizer import tokenizer_digest
from probes.commandline import command_line
from probes.engineplatform import CPU, engine_platform
from probes.errors import EnginescopeError, usage_error
from probes.home import tilde
from probes.machine import Machine, differences, fingerprint
from probes.memory.footprint import model_folder
from probes.memory.modelconfig import model_config
from probes.metrics.endpoint import API, endpoint
from probes.serve.command import choose_dtype

WARM_UP = "warm-up"
WARM_UP_REQUESTS = 8
CLOSED_REQUESTS_S = 10  # requests a second that a closed level has in store: more than one at a time can be
KV_BYTES = 1 << 30  # on a CPU, in every variant
START_S = {VLLM: 40.0, TORCH: 15.0, SERVER: 5.0}  # a start, its warm-up and its stop: for the estimate only


@dataclass
class PreparedLoad:
    """A run that is ready to be measured."""

    folder: LoadFolder
    run: LoadRun
    model: Path | str


def new_run(spec: LoadSpec, out: Path, variants_file: Path | None, schedules: Path | None) -> PreparedLoad:
    """Check all that can be checked before anything starts, make the schedules, and make the folder."""
    model, machine = models.find(spec.model, spec.load_format), fingerprint(engine_platform())
    source, remarks = read_workload(spec.workload, str(model))
    platform = machine.platform or CPU
    head = schedule_head(spec, model, source)
    plans = replayed(schedules, spec, head) if schedules else list(made(spec, source, head, model))
    longest = max(plan.longest for plan in plans)
    asked = asked_variants(spec, variants_file, platform)
    variants = [with_shared(variant, spec, model, machine, longest) for variant in asked]
    seconds = estimate_s(spec, variants)
    run = LoadRun(
        id=new_id(),
        command_line=command_line(sys.argv),
        spec=spec,
        model=models.label(model),
        model_path=tilde(str(model)) if isinstance(model, Path) else model,
        model_mark=models.mark(model),
        tokenizer=head.tokenizer,
        workload=str(source),
        synthetic=source.synthetic,
        machine=machine,
        variants=tuple(variants),
        estimate_s=seconds,
        began=now(),
        notes=(*remarks, *notes(variants, spec.knee)),
    )
    if spec.budget_s and estimate_s(replace(spec, starts=1), variants) > spec.budget_s:
        raise usage_error(
            f"one start of each variant takes some {estimate_s(replace(spec, starts=1), variants) / 60:.0f} min, which "
            "is over --budget: name fewer --rates or --variants, or a shorter --duration"
        )
    warm_up = make_schedule(
        replace(head, seed=head.seed + 1), [0.0] * WARM_UP_REQUESTS, fitting(source, head, model, 1)
    )
    folder = LoadFolder.create(out, run, {WARM_UP: warm_up, **{plan.name: plan for plan in plans}})
    return PreparedLoad(folder, run, model)


def resumed_run(name: str, out: Path) -> PreparedLoad:
    """Open the run to continue; refused, with the difference named, where it would not be the same run."""
    path = Path(name) if name else newest_unfinished(out)
    run = read_load_run(path)
    model: Path | str = Path(run.model_path).expanduser() if run.model_path.startswith(("/", "~")) else run.model_path
    if isinstance(model, Path) and not (model / "config.json").is_file():
        raise EnginescopeError(f"{path} cannot be resumed: its model {model} is gone")
    other = [*differences(run.machine.as_dict(), fingerprint(engine_platform()).as_dict())]
    if models.mark(model) != run.model_mark:
        other.append(f"the model was {run.model_mark}, is {models.mark(model)}")
    if other:
        raise EnginescopeError(f"{path} cannot be resumed, it would not be the same run: {'; '.join(map(str, other))}")
    return PreparedLoad(LoadFolder(path), run, model)


# --- schedules ---


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


def made(spec: LoadSpec, source: WorkloadSource, head: ScheduleHead, model: Path | str) -> Iterator[Schedule]:
    """One schedule a rate, and the closed level first; request n asks for the same lengths in each."""
    closed = [0.0] * max(20, int(CLOSED_REQUESTS_S * spec.duration_s))
    yield make_schedule(replace(head, arrivals=CLOSED), closed, fitting(source, head, model))
    for rate in sorted(spec.rates) if not spec.knee else ():
        times_s = rate_times(spec, source, rate)
        yield make_schedule(replace(head, rate_req_s=rate), times_s, fitting(source, head, model))


def rate_times(spec: LoadSpec, source: WorkloadSource, rate: float) -> list[float]:
    """When the requests of a rate are due."""
    if spec.arrivals == RECORDED:
        return replayed_times(source.arrivals_s, rate, spec.duration_s)
    seed = int.from_bytes(hashlib.sha256(f"{spec.seed}/{rate}".encode()).digest()[:6], "big")
    return arrival_times(spec.arrivals, rate, spec.duration_s, seed, spec.burstiness)


def fitting(source: WorkloadSource, head: ScheduleHead, model: Path | str, turn: int = 0) -> Iterator[Item]:
    """The items that the model can hold; a workload of which it holds none is refused."""
    longest = model_positions(model) or sys.maxsize
    items = source.draw(head.seed + turn)
    first = next((item for item in itertools.islice(items, 10_000) if _tokens(item) <= longest), None)
    if first is None:
        raise usage_error(f"no request of {source.name} fits into the model's {longest} positions")
    return itertools.chain([first], (item for item in items if _tokens(item) <= longest))


def _tokens(item: Item) -> int:
    return item.input_tokens + item.output_tokens


def replayed(folder: Path, spec: LoadSpec, head: ScheduleHead) -> list[Schedule]:
    """The schedules of another run, for the rates asked for and one at a time."""
    plans = []
    for rate in (None, *sorted(spec.rates)):
        path = folder / f"{schedule_name(rate)}.jsonl"
        plans.append(read_schedule(path))
        refuse_other_model(plans[-1], path, head.model, head.tokenizer)
    return plans


def vocabulary(model: Path | str) -> int:
    """The number of token ids, by the model's configuration."""
    folder = model_folder(str(model))
    if folder is None:
        raise usage_error(f"--model {model}: not in the hub's cache; fetch it first, or name a folder")
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return int((config.get("text_config") or config)["vocab_size"])


# --- variants ---


def asked_variants(spec: LoadSpec, file: Path | None, platform: str) -> list[Variant]:
    """The variants of a command line, before what all share; with a base URL, the server there."""
    if spec.base_url:
        at = endpoint(spec.base_url)
        path = urlsplit(spec.base_url if "://" in spec.base_url else f"http://{spec.base_url}").path.rstrip("/") or API
        url = f"{at.scheme}://{at.authority}{path}"
        return [Variant("server", SERVER, {"base_url": url, "trust_env": not at.is_local})]
    known = built_in(platform)
    own = read_variants(file, known) if file else {}
    return chosen(spec.variants or (tuple(own) if own else DEFAULT), {**known, **own}, lacking(platform))


def with_shared(variant: Variant, spec: LoadSpec, model: Path | str, machine: Machine, longest: int) -> Variant:
    """A variant with what all share: the dtype, the longest request and, on a CPU, the memory of the KV cache.

    Without chunked prefill a step has to hold the longest prompt: the token budget then is at least that.
    """
    if variant.kind == SERVER:
        return variant
    folder = model_folder(str(model))
    dtype = choose_dtype(model_config(folder).dtype, machine)[0]
    shared: dict[str, Any] = {"dtype": "bfloat16" if dtype == "auto" else dtype}
    if variant.kind == VLLM:
        most = min(-(-longest // 128) * 128, model_positions(model) or sys.maxsize)
        shared |= {"load_format": spec.load_format, "max_model_len": most, "max_num_batched_tokens": max(2048, most)}
        if machine.platform in (None, CPU):
            shared["kv_cache_memory_bytes"] = KV_BYTES
    return replace(variant, settings={**shared, **variant.settings})


def notes(variants: list[Variant], knee: bool) -> Iterator[str]:
    """What of the variants will make no difference, a sentence each."""
    asked = {variant.name: (variant.kind, variant.serve, variant.settings) for variant in variants}
    if knee:
        yield "how long the search takes is not known beforehand and not in the estimate: --budget bounds it"
    for one, other in alike(asked):
        yield f"{one} and {other} ask for the same settings"


def estimate_s(spec: LoadSpec, variants: list[Variant]) -> float:
    """Seconds that a run should take: an estimate."""
    rates = 0 if spec.knee else len(spec.rates)  # how long a search takes is not known beforehand
    levels = spec.duration_s + rates * (spec.duration_s + spec.drain_s / 2)
    return spec.starts * sum(START_S[variant.kind] + levels for variant in variants)
