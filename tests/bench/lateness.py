"""How late the sender of `offline.load` is at 200 requests a second, beside a bare timer in the same run.

The engine is the two-layer model below its knee: it keeps the machine busy while the sender sends. The bare timer is a
process that sleeps until the same times and does nothing. Lateness is when a request was sent less when it was due.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from offline.load.folder import read_requests  # noqa: E402
from offline.load.planning.arrivals import POISSON, arrival_times  # noqa: E402
from offline.load.planning.schedule import Schedule, ScheduleHead, make_schedule, write_schedule  # noqa: E402
from offline.variants.process import start_variant  # noqa: E402
from offline.variants.sender import start_sender  # noqa: E402
from offline.workload.items import Item  # noqa: E402
from probes.checkpoint import two_layer_model  # noqa: E402

LIMIT_S = 600.0
SETTINGS = {"load_format": "dummy", "dtype": "float32", "enforce_eager": True, "max_model_len": 128}
SETTINGS |= {"kv_cache_memory_bytes": 1 << 28}


def schedule(rate: float, duration_s: float) -> Schedule:
    """Short requests: 8 prompt tokens, 2 output tokens."""
    head = ScheduleHead("two-layer", "", 49152, POISSON, rate, duration_s, 1.0, 0, "short", True)
    times_s = arrival_times(POISSON, rate, duration_s, 0)
    return make_schedule(head, times_s, [Item(8, 2)] * len(times_s))


def bare_timer(seconds: list[float]) -> list[int]:
    """The lateness in ns of a plain sleep until each of some times from now on."""
    begin_ns = time.monotonic_ns()
    late = []
    for at_s in seconds:
        due_ns = begin_ns + round(at_s * 1e9)
        time.sleep(max(0.0, (due_ns - time.monotonic_ns()) / 1e9))
        late.append(time.monotonic_ns() - due_ns)
    return late


def measure(plan: Schedule, model: str) -> tuple[list[int], list[int], float]:
    """Lateness of the sender and of the bare timer in ns, and the share of requests that were finished."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_schedule(folder / "plan.jsonl", plan)
        write_schedule(folder / "warm-up.jsonl", replace(plan, requests=plan.requests[:64]))
        with start_variant("vllm", folder / "log.txt") as engine, start_sender(folder / "sender.txt") as sender:
            engine.ask({"do": "start", "settings": {**SETTINGS, "model": model}}, LIMIT_S)
            engine.ask({"do": "warm_up", "schedule": str(folder / "warm-up.jsonl")}, LIMIT_S)
            link: dict[str, Any] = {"schedule": str(folder / "plan.jsonl"), "socket": str(folder / "socket")}
            engine.send({"do": "rate", "folder": name, "variant": "v", "start": 1, "drain_s": 10.0} | link)
            sender.send({"do": "send"} | link)
            timer = subprocess.Popen(
                [sys.executable, __file__, "--timer"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            answer, _ = timer.communicate(json.dumps([each.at_s for each in plan.requests]))
            measured = engine.receive(LIMIT_S)
        requests = list(read_requests(folder))
    return (
        [each.sent_ns - each.scheduled_ns for each in requests],
        json.loads(answer),
        measured["finished"] / len(requests),
    )


def tell(name: str, late_ns: list[int]) -> None:
    ordered = sorted(late_ns)
    p50, p99 = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1e6 for share in (0.5, 0.99))
    print(
        f"  {name:11} P50 {p50:.3f} ms   P99 {p99:.3f} ms   latest {ordered[-1] / 1e6:.3f} ms   ({len(ordered)} times)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python tests/bench/lateness.py")
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--duration", type=float, default=20.0)
    parser.add_argument("--timer", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.timer:
        print(json.dumps(bare_timer(json.load(sys.stdin))))
        return
    plan = schedule(args.rate, args.duration)
    sent, timer, finished = measure(plan, str(two_layer_model()))
    print(f"lateness at {args.rate:g} requests/s, {finished:.1%} of them finished:")
    tell("the sender", sent)
    tell("bare timer", timer)


if __name__ == "__main__":
    main()
