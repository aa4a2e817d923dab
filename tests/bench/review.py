"""Time and memory of `python -m tracing.review` by phase, on generated traces of a server under full load, and how long
Chromium takes to open its page, to the first row of the table of requests.

Examples: .venv/bin/python tests/bench/review.py --requests 6094 24376
          .venv/bin/python tests/bench/review.py --requests 100000 --tokens 20
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.tracing.traces import TraceWriter
from tracing.events import layout
from tracing.events.layout import CALLED, ENDED, SUSPENDED, YIELDED
from tracing.sites.engine import CODES

RUNNING = 32  # requests in every step
STEP_NS = 7_000_000
US = 1_000
KEY = 10**12
FRONT, CORE, WORKER = 10, 11, 12
# Site, start and end within a step in µs, thread: what every step has.
IN_CORE = (
    ("core.step", 0, 6900, 1),
    ("scheduler.schedule", 40, 260, 1),
    ("executor.dispatch", 300, 480, 1),
    ("queue.put", 320, 470, 1),
    ("executor.sample", 500, 540, 1),
    ("executor.wait", 560, 6280, 1),
    ("scheduler.update", 6350, 6800, 1),
)
IN_WORKER = (
    ("worker.execute", 540, 5200, 1),
    ("runner.update", 560, 700, 1),
    ("runner.prepare", 720, 1000, 1),
    ("runner.attention", 1010, 1200, 1),
    ("runner.forward", 1220, 5000, 1),
    ("worker.sample", 5230, 6000, 1),
    ("runner.sample", 5250, 5700, 1),
    ("runner.bookkeep", 5720, 5980, 1),
    ("worker.reply", 6020, 6250, 1),
)
ON_THE_WAY_BACK = (("core.encode", 6950, 7010, 3), ("core.send", 7020, 7060, 3))
IN_FRONT_END = (("client.receive", 7100, 7180, 1), ("output.process", 7200, 9000, 1), ("output.stats", 9010, 9060, 1))
# Of each request, in µs from its arrival.
ASKING = (
    ("async.add_request", 5, 120, 1),
    ("input.process", 10, 70, 1),
    ("output.register", 90, 100, 1),
    ("client.send_async", 101, 118, 1),
)
ARRIVING = (("core.receive", 150, 190, 2), ("core.preprocess", 195, 230, 2))
ADMITTING = (("core.dequeue", 7, 27, 1), ("core.add_request", 10, 25, 1))  # right before a step


def generate(folder: Path, requests: int, tokens: int) -> None:
    """A trace of `AsyncLLM` with a worker process: requests come one behind the other into a batch that is full, and
    each has a token in each of its steps."""
    first = np.arange(requests, dtype=np.int64) * tokens // RUNNING  # the step that each begins in
    steps = np.arange(first[-1] + tokens, dtype=np.int64)
    front = TraceWriter(folder, FRONT, ["front end"])
    core = TraceWriter(folder, CORE, ["core", "core input", "core output"], parent=FRONT)
    worker = TraceWriter(folder, WORKER, ["worker"], parent=CORE)
    names = np.array([[front.text(f"r{each}"), front.text(f"r{each}-x")] for each in range(requests)])
    in_core = np.array([core.text(f"r{each}-x") for each in range(requests)])
    _ask(front, core, first, names, in_core)
    _steps(front, core, worker, steps)
    _answer(front, core, first, tokens, names, in_core)
    _lists(front, core, first, tokens, steps)
    for writer in (front, core, worker):
        writer.close()


def _records(writer: TraceWriter, site: str, start: np.ndarray, end: np.ndarray, **fields: Any) -> None:
    """A span of a site for each of some times; `fields` are other columns, -1 where no step is named."""
    records = np.zeros(len(start), layout.RECORD)
    values = {"thread": 1, "step": -1, "kind": layout.SPAN, "site": CODES[site], "start": start, "end": end} | fields
    for name, column in values.items():
        records[name] = column
    writer.pieces.append(records)


def _ask(front: TraceWriter, core: TraceWriter, first: np.ndarray, names: np.ndarray, in_core: np.ndarray) -> None:
    """From each request's call to the scheduler's queue, in which it stands for one to three steps."""
    number = np.arange(len(first))
    at = (first - 1 - number % 3) * STEP_NS + 100 * STEP_NS + number % 37 * 50 * US
    call = (number + 1) << 1
    for value in (CALLED, SUSPENDED):
        end = at if value == CALLED else at + 125 * US
        _records(front, "async.generate", at, end, request=names[:, 0], value=value, extra=call)
    for site, start, end, thread in ASKING:
        value = ENDED if site == "async.add_request" else 0
        inside = names[:, 0] if site in ("async.add_request", "input.process") else names[:, 1]
        _records(front, site, at + start * US, at + end * US, request=inside, value=value, extra=call, thread=thread)
    _records(front, "input.assign_id", at + 75 * US, at + 80 * US, request=names[:, 1])
    for site, start, end, thread in ARRIVING:
        _records(core, site, at + start * US, at + end * US, request=in_core, thread=thread, value=300)
    before = (at // STEP_NS + 1) * STEP_NS - 35 * US
    for site, start, end, thread in ADMITTING:
        _records(core, site, before + start * US, before + end * US, request=in_core, thread=thread, value=64)


def _steps(front: TraceWriter, core: TraceWriter, worker: TraceWriter, steps: np.ndarray) -> None:
    at, keys = (steps + 100) * STEP_NS, KEY + steps
    for writer, sites, number in (
        (core, IN_CORE, steps),
        (worker, IN_WORKER, steps),
        (core, ON_THE_WAY_BACK, keys),
        (front, IN_FRONT_END, keys),
    ):
        for site, start, end, thread in sites:
            _records(writer, site, at + start * US, at + end * US, step=number, thread=thread, value=RUNNING)


def _answer(
    front: TraceWriter, core: TraceWriter, first: np.ndarray, tokens: int, names: np.ndarray, in_core: np.ndarray
) -> None:
    """What each request gets of each of its steps, and its end."""
    call = (np.arange(len(first)) + 1) << 1
    place = np.arange(len(first)) % RUNNING  # its turn in every message
    for token in range(tokens):
        step, last = first + token, token == tokens - 1
        handled = (step + 100) * STEP_NS + 7205 * US + place * 55 * US
        internal = {"request": names[:, 1], "step": KEY + step}
        _records(front, "output.detokenize", handled, handled + 25 * US, step=KEY + step, value=1)
        _records(front, "output.deliver", handled + 30 * US, handled + 50 * US, **internal)
        taken = (step + 100) * STEP_NS + 9100 * US + place * 90 * US
        caller = {"request": names[:, 0], "extra": call + int(last)}
        _records(front, "async.generate", taken, taken + 20 * US, value=YIELDED, **caller)
        if not last:
            _records(front, "async.generate", taken + 60 * US, taken + 75 * US, value=SUSPENDED, **caller)
    freed = (first + tokens - 1 + 100) * STEP_NS + 6700 * US + place * US
    status = core.text("FINISHED_LENGTH_CAPPED")
    fields = {"step": first + tokens - 1, "value": tokens, "extra": status}
    _records(core, "scheduler.free", freed, freed + 900, request=in_core, **fields)


def _lists(front: TraceWriter, core: TraceWriter, first: np.ndarray, tokens: int, steps: np.ndarray) -> None:
    for number in range(len(first)):
        front.renamed(f"r{number}-x", f"r{number}")
    begin, end = (np.searchsorted(first, steps - back, side="right") for back in (tokens, 0))
    for step, low, high in zip(steps.tolist(), begin.tolist(), end.tolist(), strict=True):
        new = int((first[low:high] == step).sum())
        decoding = high - low - new
        core.batch(step, {f"r{number}-x": 1 for number in range(low, high)}).message(step, KEY + step)
        counts = {"prefill_requests": new, "prefill_tokens": 64 * new, "decode_requests": decoding}
        core.counts(step, counts | {"decode_tokens": decoding, "kv_used_blocks": 8 * RUNNING, "kv_blocks": 1000})


class Phases:
    """Seconds of this process's processor and its peak memory at the end of each phase."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, int]] = []
        self._since = time.process_time()

    def end(self, name: str) -> None:
        now = time.process_time()
        self.rows.append((name, now - self._since, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
        self._since = now


def measure(folder: Path) -> None:
    """Review a folder phase by phase, and print the phases as JSON."""
    phases = Phases()
    from tracing import review as command
    from tracing import timeline
    from tracing.breakdown import findings as breakdown
    from tracing.breakdown.requests import budget, hops
    from tracing.page.sections import sections
    from tracing.timeline import requests
    from tracing.timeline.steps import anatomy

    phases.end("imports")
    for module, name, title in (
        (timeline, "read", "read"),
        (breakdown, "Index", "index"),
        (breakdown, "flows_of", "requests"),
        (breakdown, "anatomy", "steps"),
        (hops, "hops", "hops"),
        (budget, "budgets", "budgets"),
    ):
        _timed(phases, module, name, title)
    findings = breakdown.findings(folder)
    phases.end("findings")
    page = sections(findings)
    command.write(findings, page, None, None)
    phases.end("page")
    assert requests and anatomy
    size = (folder / "review.html").stat().st_size
    print(json.dumps({"spans": len(findings.timeline.spans), "page_bytes": size, "phases": phases.rows}))


def _timed(phases: Phases, module: Any, name: str, title: str) -> None:
    """Make a function end a phase at its return; what came before its call is the phase of other findings."""
    function = getattr(module, name)

    def timed(*args: Any, **kwargs: Any) -> Any:
        phases.end("findings")
        result = function(*args, **kwargs)
        phases.end(title)
        return result

    setattr(module, name, timed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, nargs="+", default=[6094])
    parser.add_argument("--tokens", type=int, default=44, help="of each request (44)")
    parser.add_argument("--trace", type=Path, help="a trace folder to review instead of generated ones")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.measure)
        return
    if args.trace:
        report(args.trace, "recorded")
        return
    for requests in args.requests:
        with tempfile.TemporaryDirectory() as scratch:
            generate(Path(scratch), requests, args.tokens)
            report(Path(scratch), f"{requests:,} requests of {args.tokens} tokens")


def report(folder: Path, title: str) -> None:
    """Measure a folder in a process of its own, and print a line a phase."""
    command = [sys.executable, __file__, "--measure", str(folder)]
    done = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    seconds: dict[str, float] = {}
    for name, took, _ in done["phases"]:
        seconds[name] = seconds.get(name, 0) + took
    peak = max(peak for _, _, peak in done["phases"])
    print(f"{title}, {done['spans']:,} spans: {sum(seconds.values()):.2f} s of a core, peak {peak / 2**20:.0f} MiB,")
    opened = f"opened in {opening(folder / 'review.html'):.1f} s"
    print(
        f"page {done['page_bytes'] / 1e6:.1f} MB, {opened}; "
        + ", ".join(f"{name} {s:.2f} s" for name, s in seconds.items())
    )


def opening(page: Path) -> float:
    """Seconds until a browser that runs shows a page's table of requests; the second time, as its profile is new."""
    from tests.chromium import chromium  # not in the process whose memory is measured

    with chromium() as browser:
        for _ in range(2):
            since = time.monotonic()
            browser.visit(page.as_uri())
            browser.until("document.querySelectorAll('#requests tbody tr').length > 0")
            took = time.monotonic() - since
    return took


if __name__ == "__main__":
    main()
