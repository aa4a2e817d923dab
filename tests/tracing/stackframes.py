"""Stacks of an engine's core as py-spy names them."""

from __future__ import annotations

SITE = "/env/lib/python3.11/site-packages/"
MAIN = ("EngineCoreProc.run_engine_core", f"{SITE}vllm/v1/engine/core.py", 10)
STEP = ("EngineCore.step", f"{SITE}vllm/v1/engine/core.py", 20)
SCHEDULE = ("Scheduler.schedule", f"{SITE}vllm/v1/core/sched/scheduler.py", 30)
SPIN = ("MessageQueue.acquire_read", f"{SITE}vllm/distributed/device_communicators/shm_broadcast.py", 40)
RESULT = ("FutureWrapper.result", f"{SITE}vllm/v1/executor/multiproc_executor.py", 45)
YIELD = ("sched_yield", f"{SITE}vllm/distributed/utils.py", 50)
GET = ("Queue.get", "/usr/lib/python3.11/queue.py", 171)
WAIT = ("Condition.wait", "/usr/lib/python3.11/threading.py", 327)
CORE = (11, 12, "MainThread")
WORKING, WAITING = (MAIN, STEP, SCHEDULE), (MAIN, STEP, RESULT, SPIN, YIELD)
