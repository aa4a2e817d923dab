"""The reader's deployment: which shapes a page shows, one at a time, each out of its committed trace.

What belongs to some deployments only has their classes (`for for-dp2`); the style of `style` hides the others, the
script `deployment.js` keeps what the reader has chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html import escape

from notes.site import processmap, sequence
from notes.site.deployment import layouts
from notes.site.route import Route, median_route
from notes.traces import shapetrace
from notes.traces.shapetrace import ShapeTrace
from notes.translation.labels import IN_ENGLISH, Labels
from notes.walkthrough.chapters import Chapter, explaining_first
from notes.walkthrough.implementations import runs
from tracing.breakdown.findings import analyze
from tracing.shapes.shape import SHAPES, Shape

# By shape, the first is what a page shows to one who has chosen nothing.
DEPLOYMENTS = {
    "one-gpu": "one GPU",
    "tp2-async": "several GPUs, tensor parallel",
    "dp2": "several GPUs, data parallel",
    "cpu": "CPU",
}
ON_CPU = "cpu"  # where neither the second runner nor async scheduling is taken
# What the other recorded shapes are.
OTHER_SHAPES = {
    "tp2": "two workers without async scheduling",
    "two-front-ends": "two API server processes",
    "in-process": "everything in one process",
    "ngram": "n-gram speculation",
    "lora": "a LoRA adapter",
    "kv-connector": "KV blocks that come from files",
    "v2-one-gpu": "Model Runner V2",
    "grammar": "answers that a grammar allows",
    "windows": "layers with a sliding window",
    "compiled": "a compiled model",
    "pictures": "prompts with pictures",
    "vectors": "a pooling model",
}
# The runs that a chapter shows at its end, by its number.
RUNS = {
    10: ("tp2-async", "dp2"),
    12: ("ngram",),
    13: ("grammar",),
    14: ("kv-connector",),
    15: ("windows",),
    16: ("compiled",),
    17: ("two-front-ends",),
    18: ("tp2-async", "dp2"),
    19: ("v2-one-gpu",),
    20: ("lora",),
    21: ("pictures",),
    22: ("vectors",),
}
YOURS = "your deployment"
RECORDED = (
    "Recorded on a CPU, whatever the devices: the processes, their order and their messages are those of such a "
    "deployment, the times are not. `{about}`"
)
V1_RAN = "Model Runner V1 ran; on a GPU this version takes V2 by itself where it can."
NO_ASYNC_SCHEDULING = "Recorded without async scheduling, which is on by default on a GPU."
ONE_REQUEST = (
    "One finished request and its {steps} steps. An underlined name leads to its stop; an arrow without a time is a "
    "call inside one process."
)
RUN = "A recorded run: {shape}"


def trace(shape: str) -> ShapeTrace:
    """The committed trace of a shape."""
    return shapetrace.read_all()[shape]


@cache
def route(shape: str) -> Route | None:
    """The way of its request."""
    return median_route(analyze(trace(shape).timeline))


def name(shape: str, say: Labels) -> str:
    """A shape in words."""
    return say(DEPLOYMENTS.get(shape) or OTHER_SHAPES[shape])


def switch(say: Labels = IN_ENGLISH) -> str:
    """What a reader chooses his deployment with."""
    options = "".join(f'<option value="{shape}">{escape(name(shape, say))}</option>' for shape in DEPLOYMENTS)
    return (
        f'<p class="deployment" data-search-exclude><label>{escape(say(YOURS))} '
        f"<select data-deployment>{options}</select></label></p>"
    )


def only(shapes: Sequence[str], html: str, tag: str = "div") -> str:
    """Something that belongs to some deployments only."""
    classes = " ".join(("for", *(f"for-{shape}" for shape in shapes)))
    return f'<{tag} class="{classes}">{html}</{tag}>'


def style() -> str:
    """Hides what belongs to other deployments than the chosen one."""
    first, *_ = DEPLOYMENTS
    rules = [f"html:not([data-deployment]) .for:not(.for-{first})"]
    rules += [f'html[data-deployment="{shape}"] .for:not(.for-{shape})' for shape in DEPLOYMENTS]
    return ",\n".join(rules) + " { display: none; }\n"


# --- drawings ---


def framed(svg: str) -> str:
    """A drawing, of whose names the search knows nothing."""
    return f'<div class="drawing" data-search-exclude>{svg}</div>'


def maps(pages: Mapping[int, str], say: Labels) -> str:
    """The process map of each deployment."""
    return "".join(only((shape,), process_map(shape, pages, say)) for shape in DEPLOYMENTS)


def process_map(shape: str, pages: Mapping[int, str], say: Labels) -> str:
    """The processes of a shape."""
    layout = layouts.layout(shape, trace(shape).timeline)
    return framed(processmap.drawing(layout, pages, say))


def sequences(chapters: Sequence[Chapter], folder: str, say: Labels) -> str:
    """The way of one request in each deployment; the chapters' pages are in `folder`."""
    links = {shape: site_links(chapters, SHAPES[shape], folder) for shape in DEPLOYMENTS}
    return "".join(only((shape,), provenance(shape, say) + request_way(shape, links[shape], say)) for shape in links)


def request_way(shape: str, links: Mapping[str, str], say: Labels) -> str:
    """The way of a shape's request, and of how many steps it was."""
    way = route(shape)
    if way is None:
        return ""
    svg = sequence.drawing(way, links, say, SHAPES[shape])
    words = escape(say(ONE_REQUEST, steps=way.steps))
    return f"<p>{words}</p>{framed(svg)}"


def site_links(chapters: Sequence[Chapter], shape: Shape | None, folder: str = "") -> dict[str, str]:
    """By tracing site the address of the first stop that explains it, in a shape of those that run in it. The chapters'
    pages are in `folder`."""
    links: dict[str, str] = {}
    for chapter in explaining_first(chapters):
        for stop in chapter.stops:
            if stop.site and (shape is None or runs(stop.anchor.target, shape)):
                links.setdefault(stop.site, f"{folder}{chapter.name}.html#{stop.name}")
    return links


def provenance(shape: str, say: Labels) -> str:
    """That a drawing was recorded, on what, and where the deployment that it stands for does otherwise."""
    words, _, about = say(RECORDED, about=trace(shape).about).partition("`")
    otherwise = escape(" ".join(differences(SHAPES[shape], say)))
    return f'<p class="about">{escape(words)}<code>{escape(about.strip("`"))}</code> {otherwise}</p>'


def differences(shape: Shape, say: Labels) -> Iterator[str]:
    """What a GPU has by default and the recording of its deployment has not."""
    if shape.name not in DEPLOYMENTS or shape.name == ON_CPU:
        return
    if not shape.runner_v2:
        yield say(V1_RAN)
    if not shape.async_scheduling:
        yield say(NO_ASYNC_SCHEDULING)


def runs_of(number: int, pages: Mapping[int, str], chapters: Sequence[Chapter], say: Labels) -> list[str]:
    """The recorded runs of a chapter, as Markdown."""
    parts = []
    for shape in RUNS.get(number, ()):
        parts += [f"## {say(RUN, shape=name(shape, say))} {{ #run-{shape} }}", provenance(shape, say)]
        way = request_way(shape, site_links(chapters, SHAPES[shape]), say)
        parts += [process_map(shape, pages, say), way]
    return parts
