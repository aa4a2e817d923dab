"""What the step log costs a step: the two hooked methods against the same methods unhooked, interleaved.

The scheduler is a stand-in that does nothing, so the difference is the hook alone; its inputs have the real shapes.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from tracing.hooks import steplog

STEPS, ROUNDS, BOUND_NS = 2000, 15, 5000


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

    def schedule(self) -> SimpleNamespace:
        return self.output

    def update_from_output(self) -> None:
        return None


def hooked(folder: str) -> type[Scheduler]:
    schedule = steplog.step_wrapper("schedule", folder)(Scheduler.schedule)
    update = steplog.step_wrapper("update_from_output", folder)(Scheduler.update_from_output)
    return type("Hooked", (Scheduler,), {"schedule": schedule, "update_from_output": update})


def ns_a_step(scheduler: Scheduler) -> float:
    start = time.perf_counter_ns()
    for _ in range(STEPS):
        scheduler.schedule()
        scheduler.update_from_output()
    return (time.perf_counter_ns() - start) / STEPS


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        cls = hooked(folder)
        print(f"{'running':>8} {'cost a step':>12} {'spread over rounds':>20}")
        for running in (1, 8, 16, 64, 256):
            plain, watched = Scheduler(running), cls(running)
            pairs = [(ns_a_step(plain), ns_a_step(watched)) for _ in range(ROUNDS)]
            costs = sorted(after - before for before, after in pairs)
            middle = statistics.median(costs)
            verdict = "ok" if middle <= BOUND_NS else f"over {BOUND_NS / 1000:.0f} µs"
            print(f"{running:>8} {middle / 1000:>9.2f} µs {costs[0] / 1000:>9.2f}-{costs[-1] / 1000:.2f} µs  {verdict}")


if __name__ == "__main__":
    main()
