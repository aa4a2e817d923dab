"""The stages that changed between two versions of vLLM, each with the code on its path that differs, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from offline.environments.changedcode import ChangedStage, name
from probes.htmlpage import PageSection
from tracing.sites.changed import ChangedFunction
from tracing.source.likeness import beside

SHOWN = 8  # functions of a stage whose code is on the page; the others are named
ABOUT = (
    "For each stage of a recorded request whose time changed beyond its interval, the largest change first: the "
    "functions that it is made of, then what these call, as far as names tell, where the versions differ in code. "
    "That one differs says where to look, not that it is the reason."
)
DISTANCES = ("the stage's own", "called by it", "two calls away", "three calls away")


def section(stages: Sequence[ChangedStage]) -> PageSection:
    """The section; empty without stages."""
    return PageSection("What changed on the way", ABOUT, Markup("").join(map(_stage, stages)))


def _stage(stage: ChangedStage) -> Markup:
    functions = stage.functions or ()
    shown = Markup("").join(_function(each, first=i == 0) for i, each in enumerate(functions[:SHOWN]))
    others = ", ".join(map(name, functions[SHOWN:]))
    rest = Markup("<p>And: {}.</p>").format(others) if others else Markup("")
    return Markup("<h3>{}</h3>").format(stage.sentence) + shown + rest


def _function(function: ChangedFunction, first: bool) -> Markup:
    """A function in both versions, to be unfolded; the first one is."""
    opened = Markup(" open") if first else Markup("")
    code = "\n".join(beside(function.before, function.after))
    return Markup("<details{}><summary>{} ({})</summary><pre>{}</pre></details>").format(
        opened, function.target, DISTANCES[function.distance], code
    )
