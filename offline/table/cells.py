"""Records to rows: every figure of the table, computed on reading from the raw trials of a run."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import Any

from offline.spec.grid import Arm, Cell
from offline.table.statistics import Drift, drift, mean_interval, percentile
from tracing.events.step import GC_PAUSE, STEP, STEP_FIELDS, Step

PERCENTILES = (("p50", 0.50), ("p95", 0.95), ("p99", 0.99))
PER_REQUEST = ("latency_s", "ttft_s", "tpot_s", "queue_s", "prefill_s", "decode_s")


def rows(grid: list[Arm], repeats: int, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a cell, in the order of the grid; `repeats` is the number of trials that a whole cell has."""
    trials: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if record["kind"] == "trial":
            trials.setdefault(record["cell"], []).append(record)
    starts = {r["arm"]: r for r in records if r["kind"] == "arm"}
    # An engine that came up later, in a resume, takes an earlier stop back.
    stops = {r["arm"]: r for r in records if r["kind"] == "stop" and r["engine"] >= _engine(starts.get(r["arm"]))}
    made = []
    for arm in grid:
        shared = arm_columns(arm, [r for r in records if r["kind"] == "arm" and r["arm"] == arm.id])
        for cell in arm.cells:
            done = trials.get(arm.cell_id(cell), [])
            status = _status(len(done), repeats, stops.get(arm.id), arm.id in starts)
            made.append(_identity(arm, cell) | status | _figures(done) | shared | {"cell": arm.cell_id(cell)})
    return made


def run_drift(records: list[dict[str, Any]]) -> Drift | None:
    """The machine's drift over a run, from the kernel timed beside every trial."""
    by_start: dict[str, list[float]] = {}
    for record in records:
        if record["kind"] == "trial":
            values = by_start.setdefault(f"{record['arm']}/{record['engine']}", [])
            values.append(sum(record["reference_ns"]) / len(record["reference_ns"]) / 1e9)
    return drift(by_start)


def _engine(start: dict[str, Any] | None) -> int:
    return int(start["engine"]) if start else 0


def _identity(arm: Arm, cell: Cell) -> dict[str, Any]:
    axes = {
        k: v if not isinstance(v, (dict, list)) else json.dumps(v) for k, v in arm.settings.items() if k in arm.axes
    }
    caching = "on" if axes.pop("enable_prefix_caching") else "off"
    return {"batch_size": cell.batch_size, "prefix_caching": caching, **axes} | {
        key: getattr(cell, key) for key in ("cache_state", "input_len", "output_len", "shared_prefix_len")
    }


def _status(done: int, repeats: int, stop: dict[str, Any] | None, started: bool) -> dict[str, Any]:
    if done >= repeats:
        return {"status": "ok", "reason": "", "trials": done}
    if stop is not None:
        return {"status": stop["status"], "reason": stop["reason"], "trials": done}
    reason = f"{done} of {repeats} trials" if started else "not started"
    return {"status": "interrupted", "reason": reason, "trials": done}


def _figures(trials: list[dict[str, Any]]) -> dict[str, Any]:
    per_trial = [measure(trial) for trial in trials]
    columns: dict[str, Any] = {}
    for name in FIGURES:
        figure = mean_interval([value for m in per_trial if (value := m[name]) is not None])
        columns[name] = figure.mean if figure else None
        columns[f"{name}_lo"] = figure.lo if figure else None
        columns[f"{name}_hi"] = figure.hi if figure else None
    expected = [t["expected_cached_tokens"] for t in trials if t["expected_cached_tokens"] is not None]
    columns["expected_cached_tokens"] = sum(expected) / len(expected) if expected else None
    columns["cache_check"] = _cache_check(trials)
    columns["batch_histogram"] = histogram(trials)
    columns["spread"] = f"95 % t-interval over {len(trials)} trials" if len(trials) > 1 else "n=1" if trials else ""
    columns["tokens_check"] = _tokens_check(trials)
    return columns


def _tokens_check(trials: list[dict[str, Any]]) -> str:
    if not trials:
        return "n/a"
    short = [t for t in trials if sum(r["generated_tokens"] for r in t["requests"]) != t["asked_tokens"]]
    return f"differs in {len(short)} of {len(trials)}" if short else "as asked"


def _cache_check(trials: list[dict[str, Any]]) -> str:
    if any(t["expected_cached_tokens"] is None for t in trials) or not trials:
        return "n/a"
    wrong = [t for t in trials if t["expected_cached_tokens"] != t["prefix_hits"]]
    return f"differs in {len(wrong)} of {len(trials)}" if wrong else "as expected"


COUNTED = (
    *("cached_tokens", "running_mean", "running_max", "waiting_max", "preemptions", "kv_used_blocks_max"),
    *("prefill_steps", "mixed_steps", "decode_steps", "gc_pause_s", "reference_s"),
)
FIGURES = (
    *("output_tok_s", "total_tok_s", "elapsed_s"),
    *(f"{name}_{label}" for name in (*PER_REQUEST, "itl_s") for label, _ in PERCENTILES),
    *COUNTED,
)


def measure(trial: dict[str, Any]) -> dict[str, float | None]:
    """The figures of one trial. Times in seconds, rates in tokens a second, the rest counts."""
    elapsed = (trial["end_ns"] - trial["start_ns"]) / 1e9
    requests = trial["requests"]
    generated = sum(r["generated_tokens"] for r in requests)
    prompted = sum(r["prompt_tokens"] for r in requests)
    steps = [s for s in steps_of(trial) if s.kind == STEP and s.prefill_requests + s.decode_requests]
    pauses = [s for s in steps_of(trial) if s.kind == GC_PAUSE]
    found: dict[str, float | None] = {
        "output_tok_s": generated / elapsed,
        "total_tok_s": (generated + prompted) / elapsed,
        "elapsed_s": elapsed,
    }
    for name in PER_REQUEST:
        values = [r[name] for r in requests if r[name] is not None]
        found |= {f"{name}_{label}": percentile(values, share) for label, share in PERCENTILES}
    gaps, weights = inter_token(steps)
    found |= {f"itl_s_{label}": percentile(gaps, share, weights) for label, share in PERCENTILES}
    running = [s.prefill_requests + s.decode_requests for s in steps]
    return found | {
        "cached_tokens": trial["prefix_hits"],
        "running_mean": sum(running) / len(running) if running else None,
        "running_max": max(running, default=None),
        "waiting_max": max((s.waiting for s in steps), default=None),
        "preemptions": trial["preemptions"],
        "kv_used_blocks_max": max((s.kv_used_blocks for s in steps), default=None),
        "prefill_steps": sum(1 for s in steps if not s.decode_requests),
        "mixed_steps": sum(1 for s in steps if s.prefill_requests and s.decode_requests),
        "decode_steps": sum(1 for s in steps if not s.prefill_requests),
        "gc_pause_s": sum(s.end_ns - s.start_ns for s in pauses) / 1e9,
        "reference_s": sum(trial["reference_ns"]) / len(trial["reference_ns"]) / 1e9,
    }


def steps_of(trial: dict[str, Any]) -> list[Step]:
    """The step log of a trial, as it was written by the core."""
    if trial["step_fields"] != list(STEP_FIELDS):
        return [Step(**dict(zip(trial["step_fields"], values, strict=True))) for values in trial["steps"]]
    return [Step(*values) for values in trial["steps"]]


def inter_token(steps: list[Step]) -> tuple[list[float], list[float]]:
    """Gaps between the ends of neighbouring steps (seconds) and how many requests waited through each for a token.

    A request's first decode is left out: its gap holds the rest of the prefills of its batch.
    """
    gaps, weights = [], []
    for before, step in itertools.pairwise(steps):
        if step.decode_requests > step.first_decodes:
            gaps.append((step.end_ns - before.end_ns) / 1e9)
            weights.append(float(step.decode_requests - step.first_decodes))
    return gaps, weights


def histogram(trials: list[dict[str, Any]]) -> str:
    """What ran, over all trials: `16x45 15x3` says that 45 steps ran 16 requests and 3 ran 15."""
    counts = Counter(
        s.prefill_requests + s.decode_requests for trial in trials for s in steps_of(trial) if s.kind == STEP
    )
    counts.pop(0, None)
    return " ".join(f"{running}x{steps}" for running, steps in sorted(counts.items(), reverse=True))


# --- what holds for a whole arm ---


def arm_columns(arm: Arm, starts: list[dict[str, Any]]) -> dict[str, Any]:
    """Resolved settings, start-up split and memory of an arm; empty where its engine never came up.

    A phase that the platform does not have is the text `n/a`. Where an arm was started several times, the first one
    counts and `starts` says how many there were.
    """
    if not starts:
        return {}
    first, resolved = starts[0], starts[0]["resolved"]
    weights, kv = _worker_fact(first, "weights_bytes"), _worker_fact(first, "kv_cache_bytes")
    rss = sum(process["rss_bytes"] for process in first["memory"])
    # Resident memory holds weights and KV cache only where they live in the host's memory.
    rest = rss - weights - kv if resolved["device"] == "cpu" and None not in (weights, kv) else None
    return {
        **{f"effective_{name}" if name in arm.axes else name: value for name, value in resolved.items()},
        "effective_block_size": resolved["effective_block_size"] or resolved["block_size"],
        "overridden": "; ".join(f"{k}: asked {arm.settings[k]}, got {v}" for k, v in overridden(arm, resolved).items()),
        "attention_backend": _worker_fact(first, "attention_backend"),
        "weights_bytes": weights,
        "kv_cache_bytes": kv,
        "activation_peak_bytes": "n/a",  # vLLM's CPU worker does not profile it
        "rest_bytes": rest,
        "rss_bytes": rss,
        "rss_by_process": ", ".join(f"{p['title']} {p['rss_bytes'] / 2**20:.0f} MiB" for p in first["memory"]),
        "starts": len(starts),
        "started_together": first.get("started_together", 1),
        **startup(first),
    }


def overridden(arm: Arm, resolved: dict[str, Any]) -> dict[str, Any]:
    """The settings that the engine silently changed: name and what it made of them."""
    effective = resolved | {"block_size": resolved["effective_block_size"] or resolved["block_size"]}
    changed = {}
    for name, asked in arm.settings.items():
        got = effective.get(name)
        if name != "model" and got is not None and asked not in ("auto", None) and str(asked) != str(got):
            changed[name] = got
    return changed


def _worker_fact(start: dict[str, Any], name: str) -> Any:
    values = [phase[name] for phase in start["phases"] if name in phase]
    if not values:
        return None
    return ", ".join(values[0]) if isinstance(values[0], list) else sum(values)


def startup(start: dict[str, Any]) -> dict[str, Any]:
    """The start-up split in seconds. `spawn` is both hops: to the core's first line, and on to the worker's loading."""
    phases: dict[str, dict[str, Any]] = {}
    for phase in start["phases"]:
        known = phases.setdefault(phase["phase"], dict(phase))
        known["end_ns"] = max(known["end_ns"], phase["end_ns"])
    total_ns = start["start_ns"][1] - start["import_ns"][0]
    split: dict[str, Any] = {"startup_import_s": (start["import_ns"][1] - start["import_ns"][0]) / 1e9}
    # The core's first line is where it loads our plugin; a forked core inherits it and leaves no stamp.
    core = start["plugin_ns"].get(str(phases["executor"]["pid"])) if "executor" in phases else None
    split["startup_spawn_s"] = "n/a"
    if core is not None and "load_weights" in phases:
        core_ns = core - start["start_ns"][0]
        worker_ns = phases["load_weights"]["start_ns"] - phases["executor"]["start_ns"]
        split["startup_spawn_s"] = (core_ns + worker_ns) / 1e9
    if "load_weights" in phases:
        split["startup_load_weights_s"] = _seconds(phases["load_weights"])
    if {"profile", "kv_allocation"} <= set(phases):
        split["startup_profile_kv_s"] = _seconds(phases["profile"]) + _seconds(phases["kv_allocation"])
    split["startup_warm_up_s"] = _seconds(phases["warm_up"]) if _warms_up(start) and "warm_up" in phases else "n/a"
    known_s = sum(value for value in split.values() if isinstance(value, float))
    return {"startup_s": total_ns / 1e9, **split, "startup_rest_s": total_ns / 1e9 - known_s}


def _warms_up(start: dict[str, Any]) -> bool:
    # The CPU worker has nothing to warm up when it runs eagerly with a KV size that was given.
    resolved = start["resolved"]
    eager = resolved["compilation_mode"] in ("NONE", "0", 0)
    return not (resolved["device"] == "cpu" and eager and resolved["kv_cache_memory_bytes"])


def _seconds(phase: dict[str, Any]) -> float:
    return float(phase["end_ns"] - phase["start_ns"]) / 1e9
