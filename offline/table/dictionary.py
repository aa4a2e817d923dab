"""The column dictionary of a run: what each column of `table.csv` and each key of `records.jsonl` holds."""

from __future__ import annotations

from offline.differences.difference import METRICS, Difference
from offline.limit.columns import LimitColumns, LimitFigures
from offline.records.kernelreading import KernelReading
from offline.records.lines import (
    AnswersRecord,
    DeviceUse,
    ProcessMemory,
    RequestRecord,
    StartRecord,
    StopRecord,
    TrialRecord,
)
from offline.records.resolved import Resolved
from offline.records.traced import TracedRecord
from offline.table.answers import AnswerColumns
from offline.table.cards import CardColumns, CardFigures
from offline.table.cells import CellColumns, CheckColumns, StatusColumns
from offline.table.figures import TrialFigures
from offline.table.starts import StartColumns
from probes.columns import dictionary, markdown
from tracing.breakdown.requests.windowtimes import StepTimes, WindowTimes
from tracing.events.enginephase import EnginePhase

TABLE = {
    "What a cell is": CellColumns,
    "How it went": StatusColumns,
    "Figures": TrialFigures,
    "The limit": LimitFigures,
    "Each visible GPU": CardFigures,
    "Checks": CheckColumns,
    "What the engine resolved": Resolved,
    "The engine's first start": StartColumns,
    "What the limit stands on": LimitColumns,
    "Its answers": AnswerColumns,
    "Its cards": CardColumns,
}
WITH_INTERVALS = (TrialFigures, LimitFigures, CardFigures)
RECORDS = {
    "start: an engine start": StartRecord,
    "`phases` of a start": EnginePhase,
    "`memory` of a start": ProcessMemory,
    "trial: a timed repeat": TrialRecord,
    "`requests` of a trial": RequestRecord,
    "`devices` of a trial": DeviceUse,
    "`gpu_kernels` of a trial": KernelReading,
    "stop: an arm that was given up": StopRecord,
    "answers: what an arm answers to fixed prompts": AnswersRecord,
    "traced: a trial under the recorder, untimed": TracedRecord,
    "`times` of a traced trial": WindowTimes,
    "`steps` of its times": StepTimes,
}
ABOUT_TABLE = (
    "Beside these stands a column for each engine argument that varies, as asked; what the engine made of it is then "
    "called `effective_…`. `starts` counts the arm's engine starts. A number that is not known is empty."
)
ABOUT_FIGURES = "Each is the mean over trials; `…_lo` and `…_hi` are the ends of its 95 % t-interval."
ABOUT_CARDS = (
    "The columns of each card begin with its number: `gpu0_power_w`, `gpu1_power_w`. Where two cards "
    "have the same number (two vendors, unlike nodes, a run resumed on another machine), all are numbered by the order "
    "in which the trials' `devices` first show them."
)
ABOUT_DIFFERENCES = (
    "For runs whose arms have more than one start. Main effects first, then cells; "
    f"metrics: {', '.join(f'`{metric}`' for metric in METRICS)}."
)
ABOUT_RECORDS = "One JSON object a line, told apart by `kind`. `step_fields` names the values of a step."


def column_dictionary() -> str:
    """The dictionary as Markdown."""
    lines = ["# Columns", "", "## table.csv, table.parquet", "", ABOUT_TABLE, ""]
    lines += [*_sections(TABLE), "## differences.csv", "", ABOUT_DIFFERENCES, "", markdown(Difference), ""]
    lines += ["## records.jsonl", "", ABOUT_RECORDS, "", *_sections(RECORDS)]
    return "\n".join(lines)


def _sections(classes: dict[str, type]) -> list[str]:
    lines = []
    for heading, cls in classes.items():
        about = [ABOUT_FIGURES, ""] if cls in WITH_INTERVALS else []
        about += [ABOUT_CARDS, ""] if cls is CardFigures else []
        lines += [f"### {heading}", "", *about, markdown(cls), ""]
    return lines


def table_columns() -> set[str]:
    """The names of all documented columns of the table."""
    names = {each.name for cls in TABLE.values() for each in dictionary(cls)}
    ends = {f"{each.name}{end}" for cls in WITH_INTERVALS for each in dictionary(cls) for end in ("_lo", "_hi")}
    return names | ends | {"starts"}
