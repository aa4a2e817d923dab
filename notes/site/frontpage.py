"""The front page of the site: what vLLM is, where to start, the drawings of a trace, and what is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from notes.site import sequence
from notes.site.chapterpage import addresses, title
from notes.site.deployment import drawn
from notes.site.route import median_route
from notes.study import texts
from notes.tables import story
from notes.translation.labels import IN_ENGLISH, Labels
from notes.walkthrough.chapters import Chapter
from tracing.breakdown.findings import Findings
from tracing.page.sections import drawings
from tracing.source.tree import SourceTree

NAME = "How vLLM works"
CHAPTERS = "walkthrough/"  # where their pages are, from here
WHAT_IT_IS = """## What vLLM is

A library and a server that answer many users at once with one language model. It loads a model that others have
trained and runs it step by step; a step usually gives each request one token, and each has a new batch. What
attention needs of earlier tokens, their keys and values, it keeps in blocks of memory for all running requests. It
trains nothing.

| beside it | for what |
| --- | --- |
| Hugging Face's Transformers | models are written down, trained and tried out; its `generate` serves one batch |
| PyTorch FSDP, DeepSpeed, Megatron | training over many devices; they make the checkpoint |
| TRL, verl and other trainers | they have an engine such as vLLM make samples between two updates |
| SGLang, TensorRT-LLM | the same task as vLLM's |
| llama.cpp, Ollama | one user on a machine of his own |

vLLM reads the checkpoints of Transformers, with modules, kernels and a scheduler of its own.

## Start here"""
START = (
    "- **An hour:** chapters [1]({first}), [3]({third}), [5]({fifth}) and [8]({eighth}): a request from the call to "
    "the last token.",
    "- **A word that you do not know:** the [glossary](study/glossary.md), with formula, place and command.",
    "- **A server to run:** [deployment](study/deployment.md), [its log](study/startup.md), "
    "[clients](study/clients.md), [parameters](study/parameters.md).",
    "- **A week:** the [study plan](study/1.md), then the [questions](study/questions.md) that people are asked.",
)
FIRST_HOUR = {"first": 1, "third": 3, "fifth": 5, "eighth": 8}
# What readers of other books look for, and the chapters or study pages that have it.
SUBJECTS: tuple[tuple[str, tuple[int, ...], tuple[str, ...]], ...] = (
    ("processes and messages between them", (3, 4, 8), ("5",)),
    ("concepts: paged KV cache, continuous batching, prefixes, chunks", (5, 6), ("glossary", "questions")),
    ("one request through the code", (1, 2, 7, 8, 9), ("1", "7")),
    ("optimizations: async scheduling, graphs, speculation, the second runner", (4, 12, 16, 19), ()),
    ("many devices: tensor, pipeline, data, experts; KV that travels", (10, 14, 18), ()),
    ("hands-on: clients, asyncio, retries, a batch against a server", (), ("clients", "2", "3", "4", "6")),
    ("in production: start-up, flags, the server, what to watch", (9, 17), ("startup", "deployment", "parameters")),
    ("features: sampling and grammars, hybrid models, adapters, images, pooling", (13, 15, 20, 21, 22), ()),
    ("questions that people are asked", (), ("questions",)),
)
INTRODUCTION = (
    "Follow one request through the engine, with the source of vLLM {version} beside the text. There are {stops} "
    "stops, each at a line of that source, which is found by what it says and not by its number: "
    "`python -m notes.check` says which of them hold, in this or in any other release."
)
PROCESSES = (
    "The front end takes requests in and hands text out, the core decides what runs in each step, and a worker runs "
    "the model on one device. With one GPU the worker lives in the core's process; with several, and on a CPU, each "
    "has its own process. A box leads to its chapter."
)
ROUTE = (
    "Request `{request}`, the one of median length. Times of the way in are medians over {requests} requests, those of "
    "a step over {steps} steps. An underlined name leads to its stop; an arrow without a time is a call inside one "
    "process."
)
OWN_TRACE = (
    "With a trace of your own the times here and at the stops are yours, and swim lanes are added: "
    "`python -m tracing.record -- python -m tracing.demo`, then `python -m notes.build --trace DIR`."
)
OUTSIDE = (
    "Not here, and why: kernels line by line (another subject, and another language), training, the router and cluster "
    "projects around vLLM (other code bases), and devices that these notes were never run on."
)


def front(chapters: Sequence[Chapter], tree: SourceTree, findings: Findings | None, say: Labels = IN_ENGLISH) -> str:
    """The front page: what this is, the drawings, and the chapters."""
    stops = sum(len(chapter.stops) for chapter in chapters)
    parts = [
        say(f"# {NAME}"),
        say(INTRODUCTION, version=tree.version, stops=stops),
        what_it_is(chapters, say),
        say("## The processes of one engine"),
        say(PROCESSES),
        drawn.switch(say),
        drawn.maps(addresses(chapters, "html", CHAPTERS), say),
        *(_drawings(chapters, findings, say) if findings else _committed(chapters, say)),
        say("## Chapters"),
        "\n".join(_entry(each, say) for each in chapters),
        say("## Where to find what"),
        subject_table(chapters, say),
        say(OUTSIDE),
        say("## Study plan"),
        say("Seven days of two hours, pages to look things up in, and the questions that people are asked about vLLM."),
        "\n".join(f"- [{texts.title(page, say.language)}](study/{page}.md)" for page in texts.PAGES),
        say("## Tables"),
        say("Real runs of this project's commands, each with the command, machine and version that made it."),
        "\n".join(f"- [{say.phrase(each.origin.title)}](tables/{each.origin.name}.md)" for each in story.read()),
    ]
    return "\n\n".join(parts) + "\n"


def _entry(chapter: Chapter, say: Labels) -> str:
    """A chapter in the list of all."""
    link = f"[{title(chapter)}](walkthrough/{chapter.name}.md)"
    return say("- {chapter}: {summary}", chapter=link, summary=chapter.summary)


def what_it_is(chapters: Sequence[Chapter], say: Labels = IN_ENGLISH) -> str:
    """The introduction, with links to the chapters of the first hour, as far as they are there."""
    pages = addresses(chapters, "md", CHAPTERS)
    links = {name: pages.get(number, "index.md") for name, number in FIRST_HOUR.items()}
    return say(WHAT_IT_IS) + "\n\n" + "\n".join(say(item, **links) for item in START)


def subject_table(chapters: Sequence[Chapter], say: Labels = IN_ENGLISH) -> str:
    """A table from subjects to the chapters and pages that have them, as far as they are there."""
    chapter_pages = addresses(chapters, "md", CHAPTERS)
    rows = [say("| subject | chapters | study pages |"), "| --- | --- | --- |"]
    for subject, numbers, pages in SUBJECTS:
        links = [f"[{number}]({chapter_pages[number]})" for number in numbers if number in chapter_pages]
        study_links = [f"[{_short(page, say)}](study/{page}.md)" for page in pages]
        rows.append(f"| {say(subject)} | {', '.join(links)} | {', '.join(study_links)} |")
    return "\n".join(rows)


def _short(page: str, say: Labels) -> str:
    """A study page in a word or two."""
    return say("day {day}", day=page) if page.isdigit() else say(page)


def _committed(chapters: Sequence[Chapter], say: Labels) -> Iterator[str]:
    """The way of one request in each deployment, out of the committed traces."""
    yield say("## One request, from call to last output")
    yield drawn.switch(say)
    yield drawn.sequences(chapters, CHAPTERS, say)
    yield say(OWN_TRACE)


def _drawings(chapters: Sequence[Chapter], findings: Findings, say: Labels) -> Iterator[str]:
    links = drawn.site_links(chapters, None, CHAPTERS)
    yield f'<p class="about">{say("Measured: {about}", about=escape(findings.review.about))}</p>'
    route = median_route(findings)
    if route is not None:
        yield say("## One request, from call to last output")
        yield say(ROUTE, request=route.request, requests=route.requests_counted, steps=route.steps_counted)
        yield drawn.framed(sequence.drawing(route, links, say))
    for heading, sentence, svg in drawings(findings, links):
        yield say.phrase(f"## {heading}")
        yield escape(say.phrase(sentence))
        yield drawn.framed(svg)
