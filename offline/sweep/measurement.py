"""A prepared run taken to its end: what is missing is measured, the tables are written, and the outcome is told."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from offline.budgets.reason import reason_sentences
from offline.page import page
from offline.page.reported import ReportedRun, report_of
from offline.page.summary import answer
from offline.records.lines import AnswersRecord, Record, StartRecord, TrialRecord
from offline.records.run import RunRecord, interrupted_mark, marks, now
from offline.records.runindex import write_index
from offline.records.traced import TracedRecord
from offline.sweep.adaptive import AdaptiveRun
from offline.sweep.elsewhere import ClusterRunner
from offline.sweep.preparation import PreparedRun, on_disk
from offline.sweep.progress import SweepProgress
from offline.sweep.runner import Runner, arms_of
from offline.table import files, terminal
from offline.table.answers import sentences
from offline.table.cells import Row
from probes.console import console
from probes.console import show as show_laid_out
from probes.errors import INCOMPLETE, INTERRUPTED
from probes.rates.rates import ask_rates

WIDTH = 100


def measure(run: PreparedRun, time_limit_s: float, every_row: bool) -> int:
    """Run what is missing, write the tables, and say how it ended; the exit code."""
    progress_out = Console(stderr=True)
    try:
        failed = run_missing(run, time_limit_s, progress_out)
        report, code = finish(run, "incomplete" if failed else "complete"), INCOMPLETE if failed else 0
    except KeyboardInterrupt:
        report, code = finish_interrupted(run, progress_out), INTERRUPTED
    warn(report.rows, progress_out)
    show(report, run.folder.path, every_row)
    return INCOMPLETE if code == 0 and all(row["status"] == "refused" for row in report.rows) else code


def run_missing(run: PreparedRun, time_limit_s: float, out: Console) -> bool:
    """Measure what the folder does not have yet; whether an arm failed."""
    records, record = run.folder.records(), run.folder.read_run()
    trials = [each for each in records if isinstance(each, TrialRecord)]
    traced = [each for each in records if isinstance(each, TracedRecord)]
    measured, recorded = on_disk(records)
    kind = partial(ClusterRunner, cluster=run.cluster) if run.cluster else Runner
    runner = kind(
        run.plan,
        run.folder,
        run.models,
        time_limit_s,
        measured=measured,
        traced=recorded,
        engines=max((each.engine for each in records), default=0),
        groups=max([trial.group for trial in trials] + [trial.group for trial in traced], default=0),
        answered={each.arm for each in records if isinstance(each, AnswersRecord)},
        environments=record.environments,
    )
    run.folder.write_run(replace(record, state="running"))
    end, lacking = "", runner.lacking()
    done, engines = len(trials) + len(traced), sum(len(arms_of(each)) for each in lacking)
    total = done + sum(map(len, lacking))
    with SweepProgress(total, done, engines, run.plan.seconds, out, run.plan.start_s) as progress:
        began = time.monotonic()
        runner.run(progress)
        if record.effort:
            end = AdaptiveRun(runner, record.effort, began, record.begun).extend(progress)
    if end:
        out.print(end, soft_wrap=True, highlight=False)
    return runner.failed


def finish(run: PreparedRun, state: str) -> ReportedRun:
    """Write the tables, the page, the index and the final state, and close the folder; what was written."""
    folder, records = run.folder, run.folder.records()
    record = with_rates(folder.read_run(), records, state)
    resolved = {record.arm: record.resolved for record in records if isinstance(record, StartRecord)}
    planned = {name: replace(arm, resolved=resolved.get(name)) for name, arm in record.arms.items()}
    record = replace(record, state=state, ended=now(), arms=planned)
    report = report_of(record, run.plan.grid, records)
    files.write(folder.path, report.rows, report.axes, report.drift, record, report.differences)
    page.write(folder.path, report)
    folder.write_run(record)  # last: a run whose tables could not be written is not complete
    write_index(folder.path.parents[2])
    folder.close()
    return report


def finish_interrupted(run: PreparedRun, out: Console) -> ReportedRun:
    """The same of a run that Ctrl-C ended; where another one comes meanwhile, say how to continue all the same."""
    out.print("interrupted; writing what was measured", highlight=False)
    try:
        return finish(run, "interrupted")
    except KeyboardInterrupt:
        out.print(Text(interrupted_mark(run.folder.path)), soft_wrap=True)
        raise


def with_rates(run: RunRecord, records: Sequence[Record], state: str) -> RunRecord:
    """The run with the machine's rates, measured once, when the engines are gone, where a limit can be made of them.

    Those of this machine say nothing of nodes that differ from it.
    """
    has_model = any(isinstance(record, StartRecord) and record.model_config for record in records)
    is_due = has_model and run.rates is None and state != "interrupted" and not run.elsewhere
    return replace(run, rates=ask_rates()) if is_due else run


def show(report: ReportedRun, path: Path, every_row: bool) -> None:
    """The answer and the short table on standard output, and where the rest is."""
    out = console()
    for words in marks(report.record, path):
        out.print(Text(words, "bold yellow"), soft_wrap=True)
    out.width = out.width if every_row else min(out.width, WIDTH)
    first = answer(report)
    show_laid_out(out, Text("\n".join([*first, ""]), "bold"))
    terminal.show(out, report.rows, report.axes, report.drift, report.differences, every_row)
    answers = sentences(report.rows, [files.arm_name(row, report.axes) for row in report.rows])
    reasons = [words for words in reason_sentences(report.reasons) if words not in first]
    for line in (*answers, *reasons, *(stage.sentence for stage in report.changed_stages)):
        out.print(line, highlight=False, soft_wrap=True)
    out.print(Text(f"Wrote {path}"), soft_wrap=True)


def warn(rows: Sequence[Row], out: Console) -> None:
    """One line a reason: how many cells have no figure, and why, in the engine's words."""
    for status in ("refused", "failed"):
        for reason in dict.fromkeys(row["reason"] for row in rows if row["status"] == status):
            count = sum(row["status"] == status and row["reason"] == reason for row in rows)
            words = f"warning: {count} {'cell' if count == 1 else 'cells'} {status}: {reason}"
            out.print(Text(words), style="yellow", soft_wrap=True)
