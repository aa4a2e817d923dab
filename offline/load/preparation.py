"""A load run made ready to be measured: shared settings, schedules, an estimate; or an unfinished run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from offline.cluster.nodes import RayCluster
from offline.engine.threads import shared_threads
from offline.load.budget import refuse_over_budget, rounds_s
from offline.load.folder import LoadFolder, LoadRun, newest_unfinished, read_load_run
from offline.load.planning.arrivals import RECORDED
from offline.load.planning.plans import (
    as_recorded,
    as_replayed,
    fitting,
    longest_searched,
    make_schedules,
    read_schedules,
    schedule_head,
)
from offline.load.planning.schedule import make_schedule
from offline.load.planning.spec import LoadSpec
from offline.records.continuation import same_model
from offline.records.run import new_id, now
from offline.spec import model as models
from offline.spec.limits import model_positions
from offline.spec.settings import EngineSettings
from offline.variants.builtin import DEFAULT, built_in, lacking
from offline.variants.cards import Card, parallel_cards, starts_at_once
from offline.variants.serverserving import first_model
from offline.variants.variant import SERVER, VLLM, Variant, alike, chosen, engine_count, read_variants
from offline.workload.files import read_workload
from probes.devices.reading import read_devices
from probes.engineplatform import CPU, engine_platform
from probes.errors import usage_error
from probes.machine import Machine, fingerprint
from probes.memory.footprint import model_folder
from probes.memory.modelconfig import model_config
from probes.metrics.endpoint import API, endpoint
from probes.privacy.commandline import command_line
from probes.privacy.home import tilde
from probes.serve.command import choose_dtype

WARM_UP = "warm-up"
WARM_UP_REQUESTS = 8
KV_BYTES = 1 << 30  # on a CPU, in every variant


@dataclass
class PreparedLoad:
    """A run that is ready to be measured."""

    folder: LoadFolder
    run: LoadRun
    model: Path | str
    cards: tuple[Card, ...] = ()  # of a run with a start on each at a time
    cluster: RayCluster | None = None  # or on each of its nodes

    @property
    def places(self) -> int:
        """How many starts run at the same time; 0 where nothing was said of it."""
        return len(self.cluster.nodes if self.cluster else self.cards)

    @property
    def at_once(self) -> float:
        """How many of the run's starts run at the same time, on average."""
        return starts_at_once(self.run.spec.starts * len(self.run.variants), self.places)


def new_run(
    spec: LoadSpec, out: Path, variants_file: Path | None, schedules: Path | None, cluster: RayCluster | None = None
) -> PreparedLoad:
    """Check all that can be checked before anything starts, make the schedules, and make the folder."""
    model, machine = models.find(spec.model, spec.load_format), fingerprint(engine_platform())
    source = read_workload(spec.workload, str(model))
    spec = as_recorded(spec, source, model) if spec.arrivals == RECORDED else spec
    head = schedule_head(spec, model, source)
    plans = read_schedules(schedules, spec, head) if schedules else list(make_schedules(spec, source, head, model))
    spec = as_replayed(spec, plans) if schedules else spec
    other = replace(head, seed=head.seed + 1)
    warm_up = make_schedule(other, [0.0] * WARM_UP_REQUESTS, fitting(source, other, model))
    longest = max(longest_searched(spec, source, head, model), *(plan.longest for plan in (*plans, warm_up)))
    variants = asked_variants(spec, variants_file, machine.platform or CPU, longest)
    variants = [with_shared(variant, spec, model, machine, longest) for variant in variants]
    cards = run_cards(spec, variants, machine)
    places = len(cluster.nodes if cluster else cards)
    refuse_over_budget(spec, variants, places)
    run = LoadRun(
        id=new_id(),
        command_line=command_line(sys.argv),
        spec=spec,
        model=models.label(model),
        model_path=tilde(str(model)) if isinstance(model, Path) else model,
        model_mark=models.mark(model),
        tokenizer=head.tokenizer,
        workload=f"{plans[0].head.profile} (schedules of another run)" if schedules else str(source),
        synthetic=plans[0].head.synthetic,
        machine=machine,
        variants=tuple(variants),
        estimate_s=rounds_s(spec, variants, spec.starts, places),
        began=now(),
        notes=(*source.remarks, *notes(variants, spec.knee)),
    )
    folder = LoadFolder.create(out, run, {WARM_UP: warm_up, **{plan.name: plan for plan in plans}})
    return PreparedLoad(folder, run, model, cards, cluster)


def resumed_run(name: str, out: Path, cluster: RayCluster | None = None) -> PreparedLoad:
    """Open the run to continue; refused, with the difference named, where it would not be the same run."""
    path = Path(name) if name else newest_unfinished(out)
    run = read_load_run(path)
    if cluster and run.spec.base_url:
        raise usage_error(f"{path} asks one server, which nodes would share: leave --on out")
    model = same_model(path, run.model_path, run.model_mark, run.machine)
    cards = () if cluster else run_cards(run.spec, list(run.variants), run.machine)
    return PreparedLoad(LoadFolder(path), run, model, cards, cluster)


def run_cards(spec: LoadSpec, variants: list[Variant], machine: Machine) -> tuple[Card, ...]:
    """The cards of a parallel run; none for one start at a time."""
    if not spec.parallel:
        return ()
    devices = read_devices().devices
    return parallel_cards(variants, machine.platform or CPU, devices, os.environ, machine.cores_usable)


# --- variants ---


def asked_variants(spec: LoadSpec, file: Path | None, platform: str, longest: int) -> list[Variant]:
    """The variants of a command line, before what all share; with a base URL, the server there."""
    if spec.base_url:
        return [running_server(spec.base_url, longest)]
    known = built_in(platform)
    own = read_variants(file, known) if file else {}
    return chosen(spec.variants or (tuple(own) if own else DEFAULT), {**known, **own}, lacking(platform))


def running_server(base_url: str, longest: int) -> Variant:
    """The server at a base URL; refused where none answers, or where its requests have no room for the longest."""
    at = endpoint(base_url)
    path = urlsplit(base_url if "://" in base_url else f"http://{base_url}").path.rstrip("/") or API
    url = f"{at.scheme}://{at.authority}{path}"
    name, most = first_model(f"{url}/models", not at.is_local)
    if most is not None and most < longest:
        raise usage_error(
            f"--base-url: {name} there holds {most:,} tokens a request, and the longest has {longest:,}: start it with "
            "a larger --max-model-len, or choose a --workload of shorter requests"
        )
    return Variant("server", SERVER, {"base_url": url, "trust_env": not at.is_local})


def with_shared(variant: Variant, spec: LoadSpec, model: Path | str, machine: Machine, longest: int) -> Variant:
    """A variant with what all share: the dtype, the longest request and, on a CPU, the memory of the KV cache.

    Without chunked prefill a step has to hold the longest prompt: the token budget then is at least that.
    """
    if variant.kind == SERVER:
        return variant
    folder = model_folder(str(model))
    dtype = choose_dtype(model_config(folder).dtype, machine)[0]
    shared: EngineSettings = {"dtype": "bfloat16" if dtype == "auto" else dtype}
    if variant.kind == VLLM:
        most = min(-(-longest // 128) * 128, model_positions(model) or sys.maxsize)
        shared |= {"load_format": spec.load_format, "max_model_len": most, "max_num_batched_tokens": max(2048, most)}
        if machine.platform in (None, CPU):
            shared["kv_cache_memory_bytes"] = KV_BYTES
    return replace(variant, settings={**shared, **variant.settings})


def notes(variants: list[Variant], knee: bool) -> Iterator[str]:
    """What of the variants will make no difference, or is not as usual, a sentence each."""
    settings = {variant.name: (variant.form, variant.serve, variant.settings) for variant in variants}
    if knee:
        yield "how long the search takes is not known beforehand and not in the estimate: --budget bounds it"
    for one, other in alike(settings):
        yield f"{one} and {other} ask for the same settings"
    for variant in variants:
        if not variant.serve and shared_threads(variant.settings, engine_count(variant.form)):
            whose = "engines share the cores" if variant.split else "workers share the cores of one NUMA node"
            yield f"{variant.name}: its {whose}, unbound"
