"""The two methods that the step log hooks, and what it reads there."""

from types import SimpleNamespace


class Scheduler:
    def __init__(self):
        pool = SimpleNamespace(num_gpu_blocks=4096, get_num_free_blocks=lambda: 4000)
        self.kv_cache_manager = SimpleNamespace(block_pool=pool)
        self.waiting = []

    def schedule(self, requests, step):
        ids = [str(number) for number in range(requests)]
        new = [SimpleNamespace(req_id=name) for name in ids] if step == 0 else []
        old = [] if step == 0 else ids
        return SimpleNamespace(
            num_scheduled_tokens=dict.fromkeys(ids, 1),
            total_num_scheduled_tokens=requests,
            scheduled_new_reqs=new,
            scheduled_cached_reqs=SimpleNamespace(
                req_ids=old, num_output_tokens=[step] * len(old), resumed_req_ids=set()
            ),
            preempted_req_ids=set(),
            finished_req_ids=set(),
        )

    def update_from_output(self, scheduler_output, model_runner_output):
        return {}
