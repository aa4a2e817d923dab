"""Records to rows: every figure of the table, computed on reading from the raw trials of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from offline.expected.conditions import why_unknown
from offline.limit.columns import LIMIT_FIGURES
from offline.limit.figures import limit
from offline.records.kernelreading import clocks_sentence
from offline.records.lines import Record, StartRecord, StopRecord, TrialRecord
from offline.spec.grid import Arm, Cell
from offline.table.answers import NOT_COMPARED, answer_columns
from offline.table.cards import CARD_FIGURES, Card, card_columns, card_figures, card_numbers, card_row
from offline.table.figures import FIGURES, histogram, measure
from offline.table.starts import start_columns
from offline.table.statistics import Drift, drift, mean_interval
from probes.columns import column
from probes.engineplatform import CPU
from probes.rates.rates import Rates

Value = str | int | float | bool | None
Row = dict[str, Value]


@dataclass(frozen=True)
class CellColumns:
    """What a cell is; the engine arguments that vary stand between block size and cache state, as asked."""

    batch_size: int = field(metadata=column("requests handed over at once", "requests"))
    prefix_caching: str = field(metadata=column("whether prefixes are cached: off, on"))
    block_size: int = field(metadata=column("KV block size as asked", "tokens"))
    cache_state: str = field(metadata=column("whether the shared prefix is in the cache before a trial: cold, warm"))
    input_len: int = field(metadata=column("tokens of a prompt", "tokens"))
    output_len: int = field(metadata=column("tokens to generate a request", "tokens"))
    shared_prefix_len: int = field(metadata=column("of the prompt, what all requests share", "tokens"))
    temperature: float = field(metadata=column("sampling temperature; 0 is greedy, else random by the engine's seed"))


@dataclass(frozen=True)
class StatusColumns:
    """How a cell went."""

    status: str = field(metadata=column("ok, refused by the engine, failed, or interrupted"))
    reason: str = field(metadata=column("why it is not ok"))
    trials: int = field(metadata=column("trials that are on disk"))


@dataclass(frozen=True)
class CheckColumns:
    """What the trials of a cell say together."""

    expected_cached_tokens: float | None = field(
        metadata=column("tokens that the prefix cache should give, by arithmetic", "tokens", "mean over trials")
    )
    cache_check: str = field(metadata=column("whether cached tokens are the expected ones; n/a: not known"))
    expected_note: str = field(metadata=column("why the expected number of cached tokens is not known"))
    batch_histogram: str = field(metadata=column("what ran: requests x steps, all trials"))
    spread: str = field(metadata=column("what `_lo` and `_hi` are"))
    tokens_check: str = field(metadata=column("whether as many tokens as asked were generated"))
    cell: str = field(metadata=column("id of the cell"))


def rows(grid: Sequence[Arm], repeats: int, records: Sequence[Record], rates: Rates | None = None) -> list[Row]:
    """One row a cell, in the order of the grid; `repeats` is the number of trials that a whole cell has."""
    trials: dict[str, list[TrialRecord]] = {}
    for record in records:
        if isinstance(record, TrialRecord):
            trials.setdefault(record.cell, []).append(record)
    table: list[Row] = []
    answers, cards = answer_columns(grid, records), card_numbers(records)
    for arm in grid:
        starts = [r for r in records if isinstance(r, StartRecord) and r.arm == arm.id]
        stop = _last_stop(arm, starts, records)
        shared, floor = arm_columns(arm, starts, records), limit(starts[0] if starts else None, rates)
        shared |= asdict(answers.get(arm.id, NOT_COMPARED))
        for cell in arm.cells:
            measured = trials.get(arm.cell_id(cell), [])
            status = asdict(_status(len(measured), repeats, stop, bool(starts)))
            checks = asdict(_checks(measured, arm.cell_id(cell), expected_note(arm, starts)))
            figures = intervals(FIGURES, [measure(trial) for trial in measured])
            figures |= intervals(LIMIT_FIGURES, [floor.figures(trial) for trial in measured])
            figures |= each_card(measured, cards)
            bases = asdict(floor.columns())
            table.append({**cell_identity(arm, cell), **status, **figures, **checks, **shared, **bases})
    return table


def run_drift(records: Sequence[Record], alive: int) -> Drift | None:
    """The machine's drift over a run, from the kernel timed beside every trial: on its GPUs where that was done.

    Where several engines were `alive` at a time they took turns, but for those on nodes of a cluster.
    """
    trials = [record for record in records if isinstance(record, TrialRecord)]
    starts = [record for record in records if isinstance(record, StartRecord)]
    in_turns = alive > 1 and not any(start.node for start in starts)
    on_cpu = _drift(trials, [trial.reference_s for trial in trials], in_turns)
    if on_cpu is None or not {start.resolved.device for start in starts} - {CPU, None}:
        return on_cpu
    on_gpu = [second for trial in trials if (second := trial.gpu_reference_s) is not None]
    moved = _drift(trials, on_gpu, in_turns) if len(on_gpu) == len(trials) else None
    if moved is None:
        notes = dict.fromkeys(start.gpu_kernel_note for start in starts if start.gpu_kernel_note)
        some = f"the kernel ran beside {len(on_gpu)} of {len(trials)} trials"
        return replace(on_cpu, gpu_note="; ".join(notes) or some)
    return replace(moved, cpu=on_cpu, gpu_clocks=clocks_sentence([each for t in trials for each in t.gpu_kernels]))


def _drift(trials: Sequence[TrialRecord], seconds: Sequence[float], in_turns: bool) -> Drift | None:
    """By the kernel's time beside each trial."""
    by_start: dict[str, list[float]] = {}
    for trial, second in zip(trials, seconds, strict=True):
        by_start.setdefault(f"{trial.arm}/{trial.engine}", []).append(second)
    return drift(by_start, in_turns, one_arm=len({trial.arm for trial in trials}) == 1)


def _last_stop(arm: Arm, starts: Sequence[StartRecord], records: Sequence[Record]) -> StopRecord | None:
    """Why the arm was given up; an engine that came up later, in a resume, takes an earlier stop back."""
    latest = starts[-1].engine if starts else 0
    stops = [r for r in records if isinstance(r, StopRecord) and r.arm == arm.id and r.engine >= latest]
    return stops[-1] if stops else None


def cell_identity(arm: Arm, cell: Cell) -> Row:
    """What a cell is, the varied engine arguments among it."""
    levels = arm.levels
    return {"batch_size": cell.batch_size, "prefix_caching": levels["prefix_caching"], **levels} | {
        name: getattr(cell, name)
        for name in ("cache_state", "input_len", "output_len", "shared_prefix_len", "temperature")
    }


def _status(done: int, repeats: int, stop: StopRecord | None, started: bool) -> StatusColumns:
    if done >= repeats:
        return StatusColumns("ok", "", done)
    if stop is not None:
        return StatusColumns(stop.status, stop.reason, done)
    return StatusColumns("interrupted", f"{done} of {repeats} trials" if started else "not started", done)


def intervals(names: Sequence[str], per_trial: Sequence[object]) -> Row:
    """The mean over trials of each named figure, with the ends of its interval."""
    columns: Row = {}
    for name in names:
        figure = mean_interval([value for each in per_trial if (value := getattr(each, name)) is not None])
        columns[name] = figure.mean if figure else None
        columns[f"{name}_lo"] = figure.lo if figure else None
        columns[f"{name}_hi"] = figure.hi if figure else None
    return columns


def each_card(trials: Sequence[TrialRecord], numbers: Mapping[Card, int]) -> Row:
    """The same of each visible GPU, by its number in the run."""
    figures, columns = [card_figures(trial, numbers) for trial in trials], Row()
    for number in sorted({number for of_trial in figures for number in of_trial}):
        of_card = intervals(CARD_FIGURES, [of_trial[number] for of_trial in figures if number in of_trial])
        columns |= card_row(number, of_card)
    return columns


def expected_note(arm: Arm, starts: Sequence[StartRecord]) -> str:
    """Why the arithmetic of cached tokens does not hold for an arm; empty where it does."""
    return why_unknown(arm.settings, starts[0].resolved, starts[0].model_config) if starts else ""


def _checks(trials: Sequence[TrialRecord], cell: str, note: str) -> CheckColumns:
    expected = [t.expected_cached_tokens for t in trials if t.expected_cached_tokens is not None]
    return CheckColumns(
        expected_cached_tokens=sum(expected) / len(expected) if expected else None,
        cache_check=_cache_check(trials),
        expected_note=note,
        batch_histogram=histogram(trials),
        spread=f"95 % t-interval over {len(trials)} trials" if len(trials) > 1 else "n=1" if trials else "",
        tokens_check=_tokens_check(trials),
        cell=cell,
    )


def _tokens_check(trials: Sequence[TrialRecord]) -> str:
    if not trials:
        return "n/a"
    short = [trial for trial in trials if trial.generated_tokens != trial.asked_tokens]
    return f"differs in {len(short)} of {len(trials)}" if short else "as asked"


def _cache_check(trials: Sequence[TrialRecord]) -> str:
    if any(trial.expected_cached_tokens is None for trial in trials) or not trials:
        return "n/a"
    wrong = [trial for trial in trials if trial.expected_cached_tokens != trial.prefix_hits]
    return f"differs in {len(wrong)} of {len(trials)}" if wrong else "as expected"


def arm_columns(arm: Arm, starts: Sequence[StartRecord], records: Sequence[Record]) -> Row:
    """What holds for a whole arm: its first engine start, how many there were, its cards; empty where none came up."""
    if not starts:
        return {}
    trials = [record for record in records if isinstance(record, TrialRecord) and record.arm == arm.id]
    cards = asdict(card_columns(starts[0], trials))
    return {**resolved_columns(arm, starts[0]), "starts": len(starts), **cards}


def resolved_columns(arm: Arm, start: StartRecord) -> Row:
    """Resolved settings of an engine start, named apart from what was asked, and what else is known of it."""
    resolved = asdict(start.resolved)
    named = {f"effective_{name}" if name in arm.axes else name: value for name, value in resolved.items()}
    block_size = start.resolved.effective_block_size or start.resolved.block_size
    return {**named, "effective_block_size": block_size, **asdict(start_columns(arm, start))}
