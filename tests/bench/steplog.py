"""What the step log costs a step, and the recorder at the same two methods: hooked against unhooked, interleaved.

The scheduler is a stand-in that does nothing, so the difference is the hook alone; its inputs have the real shapes.
What both cost in an engine is told by `steplog_and_recorder.py`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from tests.bench.recorder import recording
from tracing.hooks import steplog
from tracing.hooks.wrappers.table import wrapper_of
from tracing.sites.engine import ALL_SITES, CODES

STEPS, ROUNDS, BOUND_US = 500, 61, 5
RUNNING = (1, 8, 16, 64, 256)


class Scheduler:
    """Returns a prepared scheduler output."""

    def __init__(self, running: int) -> None:
        ids = [f"request-{number}-0123abcd" for number in range(running)]
        pool = SimpleNamespace(num_gpu_blocks=4096, get_num_free_blocks=lambda: 4000)
        self.kv_cache_manager = SimpleNamespace(block_pool=pool)
        self.waiting: list[str] = []
        self.output = SimpleNamespace(
            num_scheduled_tokens=dict.fromkeys(ids, 1),
            total_num_scheduled_tokens=running,
            scheduled_new_reqs=[],
            scheduled_cached_reqs=SimpleNamespace(req_ids=ids, num_output_tokens=[7] * running, resumed_req_ids=set()),
            preempted_req_ids=set(),
            finished_req_ids=set(),
        )
        self.messages = {0: SimpleNamespace(outputs=ids, finished_requests=None, timestamp=1.5)}

    def schedule(self) -> SimpleNamespace:
        return self.output

    def update_from_output(self, scheduler_output: SimpleNamespace) -> dict[int, SimpleNamespace]:
        return self.messages


def logged(folder: str) -> type[Scheduler]:
    schedule = steplog.step_wrapper("schedule", folder)(Scheduler.schedule)
    update = steplog.step_wrapper("update_from_output", folder)(Scheduler.update_from_output)
    return type("Logged", (Scheduler,), {"schedule": schedule, "update_from_output": update})


def recorded() -> type[Scheduler]:
    schedule, update = (ALL_SITES[CODES[name]] for name in ("scheduler.schedule", "scheduler.update"))
    methods = {
        "schedule": wrapper_of(schedule)(Scheduler.schedule),
        "update_from_output": wrapper_of(update)(Scheduler.update_from_output),
    }
    return type("Recorded", (Scheduler,), methods)


def ns_a_step(scheduler: Scheduler) -> float:
    start = time.thread_time_ns()  # other work on the machine is not counted
    for _ in range(STEPS):
        scheduler.update_from_output(scheduler.schedule())
    return (time.thread_time_ns() - start) / STEPS


def main() -> None:
    print(f"{'running':>8} {'watcher':<10} {'cost a step':>12} {'spread over rounds':>20}")
    with tempfile.TemporaryDirectory() as folder, recording(Path(folder)):
        for running, (name, cls) in product(RUNNING, {"step log": logged(folder), "recorder": recorded()}.items()):
            plain, watched = Scheduler(running), cls(running)
            pairs = [(ns_a_step(plain), ns_a_step(watched)) for _ in range(ROUNDS)]
            costs = sorted((after - before) / 1000 for before, after in pairs)
            middle = statistics.median(costs)
            verdict = "ok" if middle <= BOUND_US else f"over {BOUND_US} µs"
            print(f"{running:>8} {name:<10} {middle:>9.2f} µs {costs[0]:>9.2f}-{costs[-1]:.2f} µs  {verdict}")


if __name__ == "__main__":
    main()
