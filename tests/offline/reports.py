"""A run of known figures as its page gets it: two block sizes with and without caching, three batch sizes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from offline.page.reported import ReportedRun, report_of
from offline.records.lines import Record, RequestRecord, StopRecord, TrialRecord
from offline.spec.grid import Arm, Cell, arms
from offline.spec.spec import Spec
from tests.offline.armrecords import started, step
from tests.offline.runs import a_run
from tracing.events.step import STEP_FIELDS

MS = 1_000_000
TOKENS = 16
SPREAD = 0.005  # of a trial
SPEC = Spec(
    batch_size=(1, 4),
    block_size=(32, 64),
    input_len=(160,),
    output_len=(TOKENS,),
    shared_prefix_len=(128,),
    repeats=3,
)


def a_report(
    model: str = "m",
    starts: int = 2,
    gain: Mapping[int, float] | None = None,
    refusal: str = "",
    spec: Spec = SPEC,
    extra: Sequence[Record] = (),
) -> ReportedRun:
    """The run's report; `gain` multiplies the throughput of a block size, `refusal` is why the engine refuses 16.

    `extra` are further records.
    """
    grid = arms(spec, {})
    draw, records = random.Random(0), list[Record]()
    for group in range(starts):
        records += [started(arm=arm.id, engine=_engine(group, i, grid)) for i, arm in enumerate(grid)]
        records += _trials(grid, spec, group, gain or {}, draw)
    if refusal:
        cells = tuple(Cell(batch, "cold", 160, TOKENS, 128) for batch in spec.batch_size)
        refused = Arm({"block_size": 16, "enable_prefix_caching": False}, grid[0].axes, cells)
        grid, records = [*grid, refused], [*records, StopRecord(refused.id, 99, "refused", refusal)]
    return report_of(a_run(model=model, spec=replace(spec, starts=starts), alive=len(grid)), grid, [*records, *extra])


def _engine(group: int, arm: int, grid: Sequence[Arm]) -> int:
    return group * len(grid) + arm + 1


def _trials(
    grid: Sequence[Arm], spec: Spec, group: int, gain: Mapping[int, float], draw: random.Random
) -> Iterator[TrialRecord]:
    """The trials of one start of each arm: a round visits each cell in all of them."""
    moment = group * 10**12
    cells = [(i, arm, cell) for i, arm in enumerate(grid) for cell in arm.cells]
    for repeat in range(spec.repeats):
        for i, arm, cell in sorted(cells, key=lambda each: (each[2].batch_size, each[2].cache_state)):
            rate = 100 * cell.batch_size**0.8 * gain.get(arm.settings["block_size"], 1) * draw.gauss(1, SPREAD)
            length = int(cell.batch_size * TOKENS / rate * 1e9)
            yield _trial(arm, cell, group * spec.repeats + repeat, _engine(group, i, grid), group, moment, length)
            moment += length + 100 * MS


def _trial(arm: Arm, cell: Cell, number: int, engine: int, group: int, start: int, length: int) -> TrialRecord:
    first, end = length / 1e9 * 0.2, length / 1e9
    cached = cell.shared_prefix_len if cell.cache_state == "warm" else 0
    request = RequestRecord(160, cached, TOKENS, "length", 7.0, 7.0, 7.0 + first, 7.0 + end, first)
    hits = cached * cell.batch_size
    return TrialRecord(
        *(arm.id, arm.cell_id(cell), number, engine, group, number, 1, start, start + length),
        asked_tokens=TOKENS * cell.batch_size,
        expected_cached_tokens=hits,
        prefix_queries=160 * cell.batch_size,
        prefix_hits=hits,
        preemptions=0,
        reference_ns=(30 * MS, 30 * MS),
        steps_lost=0,
        step_fields=STEP_FIELDS,
        steps=(tuple(step(0, 10, decode_requests=cell.batch_size, decode_tokens=cell.batch_size)),),
        requests=(request,) * cell.batch_size,
    )
