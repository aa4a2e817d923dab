"""Day 1: a first batch, what AsyncLLM's docstrings tell, and who does what: API server, AsyncLLM, core, worker."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import Any

from notes.study import recording
from notes.study.anchored import find_place
from notes.study.exercises import Exercise, expect
from notes.study.exercises.batchfile import first_batch
from probes.errors import EnginescopeError
from tracing.source.definitions import Place
from tracing.source.likeness import statements
from tracing.source.tree import SourceTree

PROCESSES = ("front end", "core", "worker")
ROLE_PLACES = (
    "AsyncLLM.generate",
    "InputProcessor.process_inputs",
    "EngineCore.preprocess_add_request",
    "Scheduler.schedule",
    "KVCacheManager.allocate_slots",
    "Worker.execute_model",
    "BaseIncrementalDetokenizer.update",
    "RequestOutputCollector.put",
)
# What must stand in the source of the place that answers each question, and what the learner is told where it does not.
REQUIRED = {
    "route": ('"/v1/chat/completions",', "a decorator with the path of the chat completions"),
    "hands over": ("self.engine_client.generate(", "a call of the engine client's generate"),
    "sends": ("engine_core.add_request_async(", "a call that gives the request to the core's client"),
    "takes": ("engine_core.get_output_async(", "a call that gets outputs from the core's client"),
}
# Who does a job is where the code that does it stands: the API server's is in entrypoints, AsyncLLM's in v1/engine.
EVIDENCE = {
    "reads the HTTP body": "vllm/entrypoints/openai/chat_completion/api_router.py:create_chat_completion",
    "applies the chat template": (
        "vllm/entrypoints/openai/chat_completion/serving.py:OpenAIServingChat.render_chat_request"
    ),
    "gives the request its internal id": "vllm/v1/engine/input_processor.py:InputProcessor.assign_request_id",
    "turns token ids into text": "vllm/v1/engine/detokenizer.py:BaseIncrementalDetokenizer.update",
    "writes the server-sent events": (
        "vllm/entrypoints/openai/chat_completion/serving.py:OpenAIServingChat.chat_completion_stream_generator"
    ),
    "notices that the client went away": "vllm/entrypoints/serve/utils/api_utils.py:with_cancellation",
    "tells the core to stop a request": "vllm/v1/engine/async_llm.py:AsyncLLM.abort",
}
OWNERS = {"vllm/entrypoints/": "API server", "vllm/v1/engine/": "AsyncLLM"}

# Of whose docstring, and a word of the paragraph that tells it.
QUOTATIONS = {
    "class": ("vllm/v1/engine/async_llm.py:AsyncLLM", "engine"),
    "streaming": ("vllm/v1/engine/async_llm.py:AsyncLLM.generate", "AsyncGenerator"),
    "background loop": ("vllm/v1/engine/async_llm.py:AsyncLLM.generate", "background"),
}
QUOTED_WORDS = 4
SENTENCE_WORDS = (8, 45)
# What each sentence is about: at least two of its own words, and fewer of any other's.
ABOUT = {
    "API server": r"http|json|chat template|server-sent|\bsse\b|route|endpoint|disconnect|fastapi|openai",
    "AsyncLLM": r"generat|async|token|detoken|background|output.handler|yield|stream|request id",
    "core": r"schedul|\bkv\b|block|step|batch|worker|model|busy loop|gpu|device",
}


def owner(job: str) -> str:
    """Who does a job, by the folder of the code that does it."""
    return next(name for folder, name in OWNERS.items() if EVIDENCE[job].startswith(folder))


def _expect_all(answer: Any, keys: tuple[str, ...], values: tuple[str, ...], name: str) -> None:
    expect(isinstance(answer, dict), f"{name} is a {type(answer).__name__}, not a dict")
    missing = [key for key in keys if key not in answer]
    expect(not missing, f"{name} says nothing of {', '.join(map(repr, missing))}")
    strange = {key: value for key, value in answer.items() if key in keys and value not in values}
    expect(not strange, f"{name} has {strange}: a value is one of {', '.join(map(repr, values))}")


def roles_as_recorded(mine: Any) -> str:
    """each place ran in that process when vLLM was recorded"""
    _expect_all(mine.ROLES, ROLE_PLACES, PROCESSES, "ROLES")
    roles = recording.read().roles
    for place in ROLE_PLACES:
        process = next(name for name in PROCESSES if roles[place].startswith(name))
        expect(
            mine.ROLES[place] == process,
            f"{place} did not run in the {mine.ROLES[place]}",
            "find it in `python -m tracing.walk`: the column after the times is the role",
        )
    return f"{len(ROLE_PLACES)} places, as in the recorded run"


@cache
def tree() -> SourceTree:
    return SourceTree.find()


def places_hold(mine: Any) -> str:
    """each place is in the installed vLLM, and does what was asked"""
    expect(isinstance(mine.PLACES, dict), "PLACES is no dict")
    answers = []
    for question, (fragment, words) in REQUIRED.items():
        anchor = mine.PLACES.get(question)
        expect(isinstance(anchor, str), f"PLACES has no answer to {question!r}")
        try:
            place = find_place(anchor, tree())
        except EnginescopeError as error:
            expect(False, f"{question}: {error}", "write file:Class.method, as vllm/v1/engine/async_llm.py:AsyncLLM")
        if not isinstance(place, Place):
            expect(False, f"{question}: {place}")
            continue
        expect(place.kind != "class", f"{question}: {anchor} is a whole class; name its method")
        expect(
            fragment in "\n".join(place.lines()),
            f"{question}: {place.where} is there, but has no {words}",
            f"look through its file, and its neighbours, for {fragment}",
        )
        answers.append(f"{question} {place.where}")
    return ", ".join(answers)


def jobs_split(mine: Any) -> None:
    """each job is done by the one that you name"""
    _expect_all(mine.JOBS, tuple(EVIDENCE), tuple(OWNERS.values()), "JOBS")
    for job, anchor in EVIDENCE.items():
        expect(
            mine.JOBS[job] == owner(job),
            f"it is not the {mine.JOBS[job]} that {job}",
            f"read {anchor}: whose folder is it in?",
        )


def quotes_found(mine: Any) -> str:
    """each quotation stands in the installed docstring, and is the part that tells it"""
    expect(isinstance(mine.QUOTATIONS, dict), "QUOTATIONS is no dict")
    for question, (anchor, word) in QUOTATIONS.items():
        quote = " ".join(str(mine.QUOTATIONS.get(question, "")).split())
        expect(
            len(quote.split()) >= QUOTED_WORDS, f"{question}: {quote!r} is no quotation of {QUOTED_WORDS} words or more"
        )
        there = [paragraph for paragraph in paragraphs(anchor) if quote in paragraph]
        expect(bool(there), f"{question}: the docstring of {anchor} does not say {quote!r}", "copy it, word for word")
        expect(
            word in there[0],
            f"{question}: that is in the docstring, but it tells something else",
            f"which paragraph has the word {word}?",
        )
    return f"{len(QUOTATIONS)} quotations, in vLLM {tree().version}"


def paragraphs(anchor: str) -> list[str]:
    """The paragraphs of a docstring in the installed vLLM, each on one line."""
    place = find_place(anchor, tree())
    expect(isinstance(place, Place), f"this exercise does not fit the installed vLLM: {place}")
    assert isinstance(place, Place)
    [node] = statements(place)
    assert isinstance(node, ast.ClassDef | ast.AsyncFunctionDef)
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", ast.get_docstring(node) or "")]


def three_sentences(mine: Any) -> str:
    """each of the three sentences says what that one does, and not what another does"""
    expect(isinstance(mine.SENTENCES, dict), "SENTENCES is no dict")
    for name in ABOUT:
        text = str(mine.SENTENCES.get(name, "")).strip()
        words = len(text.split())
        low, high = SENTENCE_WORDS
        expect(low <= words <= high, f"{name}: {words} words; a sentence that one can say has {low} to {high}")
        expect(text.endswith(".") and ". " not in text, f"{name}: one sentence, with its full stop")
        counts = {each: len(set(re.findall(pattern, text.lower()))) for each, pattern in ABOUT.items()}
        expect(
            counts[name] >= 2, f"{name}: the sentence names hardly anything that is its work", "look at JOBS and ROLES"
        )
        other = max(counts, key=lambda each: counts[each])
        expect(counts[other] == counts[name], f"{name}: the sentence tells more of the {other}")
    return " ".join(mine.SENTENCES[name].strip() for name in ABOUT)


EXERCISES = (
    Exercise("BATCH", (first_batch,)),
    Exercise("QUOTATIONS", (quotes_found,)),
    Exercise("ROLES", (roles_as_recorded,)),
    Exercise("JOBS", (jobs_split,)),
    Exercise("PLACES", (places_hold,)),
    Exercise("SENTENCES", (three_sentences,)),
)
