"""Load runs of servers whose capacity is known, as files on disk: what each variant sustains is arithmetic."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from offline.load.folder import LoadFolder, LoadRun, append_rate, compress, write_start
from offline.load.planning.spec import LoadSpec
from offline.load.records import MeasuredRate, ServedRequest, StepLine, VariantStart
from offline.spec.model import ModelMark
from offline.variants.variant import Variant
from tests.offline.runs import MACHINE
from tests.offline.traffic.servers import random_lengths

S = 1_000_000_000
BASELINE, PAGE, CHUNKED = "torch-baseline", "vllm-page", "vllm-page+chunked-prefill"
CAPACITY = {BASELINE: 1.0, PAGE: 4.0, CHUNKED: 4.0}  # requests/s
TTFT_SHARE = {BASELINE: 0.5, PAGE: 0.5, CHUNKED: 0.6}  # of a request's latency
OUTPUT = 4  # tokens of a request


def a_load_run(
    out: Path,
    rates: tuple[float, ...] = (0.5, 2.0, 8.0),
    requests: int = 1815,
    starts: int = 2,
    model: str = "m",
    workload: str = "alpaca",
) -> Path:
    """A complete run with one request at a time and some rates on each start; its folder. A rate may come twice."""
    variants = tuple(Variant(name, "torch" if name == BASELINE else "vllm") for name in CAPACITY)
    run = LoadRun(
        id="20260101-000000-aaaaaa",
        command_line="python -m offline.load",
        spec=LoadSpec(rates=tuple(dict.fromkeys(rates)), starts=starts, slo_s={"ttft": 5.0}),
        model=model,
        model_path="org/m",
        model_mark=ModelMark(hub="org/m"),
        tokenizer="0123",
        workload=workload,
        synthetic=True,
        machine=MACHINE,
        variants=variants,
        estimate_s=60.0,
        began="2026-01-01T00:00:00+0000",
        state="complete",
    )
    folder = LoadFolder.create(out, run, {})
    for name in CAPACITY:
        for start in range(1, starts + 1):
            _write_start(folder, name, start, rates, requests)
    folder.close()
    return folder.path


def _write_start(folder: LoadFolder, variant: str, start: int, rates: tuple[float, ...], requests: int) -> None:
    number, path = folder.new_start(variant)
    write_start(path, VariantStart(variant, number, "vllm", {}, state="complete"))
    rng, begin_ns = np.random.default_rng(start), S
    with (path / "requests.jsonl").open("w") as lines, (path / "steps.jsonl").open("w") as steps:
        for rate in (None, *rates):
            served = [*one_at_a_time(variant, start, begin_ns)] if rate is None else []
            served = served or under_load(variant, start, rate or 0.0, requests, begin_ns, rng)
            lines.writelines(json.dumps(asdict(each)) + "\n" for each in served)
            end_ns = served[-1].scheduled_ns + 1
            closed_ns = max(each.token_ns[-1] for each in served)
            step = StepLine(begin_ns, end_ns, len(served), 1, 0.5, OUTPUT)
            steps.write(json.dumps(asdict(step)) + "\n")
            counts = (len(served), len(served), len(served), 0, 0)
            append_rate(path, MeasuredRate(variant, start, rate, begin_ns, end_ns, closed_ns, *counts, True))
            begin_ns = closed_ns + S
    compress(path)


def one_at_a_time(variant: str, start: int, begin_ns: int) -> list[ServedRequest]:
    """Eight requests, each sent when the one before is complete."""
    each_ns = round(S / CAPACITY[variant])
    return [served(variant, start, None, i, begin_ns + i * each_ns, begin_ns + (i + 1) * each_ns) for i in range(8)]


def under_load(
    variant: str, start: int, rate: float, requests: int, begin_ns: int, rng: np.random.Generator
) -> list[ServedRequest]:
    """Poisson arrivals at a server of the variant's capacity."""
    capacity = CAPACITY[variant]
    arrivals = np.cumsum(rng.exponential(capacity / rate, requests))
    ends = random_lengths(arrivals, rng)
    times = zip(arrivals / capacity, ends / capacity, strict=True)
    return [
        served(variant, start, rate, i, begin_ns + round(arrival * S), begin_ns + round(end * S))
        for i, (arrival, end) in enumerate(times)
    ]


def served(variant: str, start: int, rate: float | None, number: int, begin_ns: int, end_ns: int) -> ServedRequest:
    """A request of four tokens between its scheduled time and its end."""
    first_ns = begin_ns + round((end_ns - begin_ns) * TTFT_SHARE[variant])
    token_ns = tuple(np.linspace(first_ns, end_ns, OUTPUT).round().astype(int).tolist())
    known = {"queued_ns": begin_ns, "token_ns": token_ns, "tokens": (1,) * OUTPUT, "started_ns": begin_ns}
    return ServedRequest(
        variant, start, rate, number, begin_ns, begin_ns, prompt_tokens=9, cached_tokens=0, finish="length", **known
    )
