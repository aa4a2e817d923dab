"""Wrong answers to day 1, a first batch, docstrings, and who does what, each with words of what its writer hears."""

from __future__ import annotations

WRONG = [
    ("ROLES = {**right.ROLES, 'Scheduler.schedule': 'worker'}", "Scheduler.schedule did not run in the worker"),
    ("ROLES = {'Scheduler.schedule': 'core'}", "ROLES says nothing of 'AsyncLLM.generate'"),
    ("ROLES = {**right.ROLES, 'Scheduler.schedule': 'kernel'}", "a value is one of 'front end', 'core', 'worker'"),
    ("ROLES = ['core']", "ROLES is a list, not a dict"),
    ("JOBS = {**right.JOBS, 'turns token ids into text': 'API server'}", "not the API server that turns token ids"),
    ("PLACES = {**right.PLACES, 'sends': 'vllm/v1/engine/async_llm.py:AsyncLLM._ad_request'}", "_add_request"),
    ("PLACES = {**right.PLACES, 'takes': 'vllm/v1/engine/async_llm.py:AsyncLLM.abort'}", "has no a call that gets"),
    ("PLACES = {**right.PLACES, 'takes': 'AsyncLLM'}", "'AsyncLLM' is not a place"),
    ("PLACES = {**right.PLACES, 'takes': 'vllm/v1/engine/async_llm.py:AsyncLLM'}", "is a whole class"),
    ("BATCH = 'before.jsonl'", "10 failed, the first with server"),
    ("BATCH = 'gone.jsonl'", "there is no file gone.jsonl"),
    ("BATCH = 'answer.py'", "holds no record of a batch"),
    ("QUOTATIONS = {**right.QUOTATIONS, 'streaming': right.QUOTATIONS['background loop']}", "it tells something else"),
    ("QUOTATIONS = {**right.QUOTATIONS, 'class': 'A wrapper that is asynchronous'}", "does not say 'A wrapper"),
    ("QUOTATIONS = {'class': 'vLLM engine'}", "is no quotation of 4 words"),
    (
        "SENTENCES = {**right.SENTENCES, 'core': right.SENTENCES['API server']}",
        "core: the sentence names hardly anything",
    ),
    ("SENTENCES = {**right.SENTENCES, 'core': 'bla ' * 20 + '.'}", "core: the sentence names hardly anything"),
    ("SENTENCES = {**right.SENTENCES, 'core': 'It schedules.'}", "core: 2 words"),
]
