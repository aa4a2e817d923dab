"""How honest the table of differences is: false alarms and power over a thousand simulated runs a setting.

Every run is a null run: six equal arms (three block sizes, prefix caching off and on), batch sizes 1 to 16, cold cells
in all arms and warm ones in half of them. Spreads are standard deviations of logarithms. "False alarms" is the share of
runs with any difference in the whole table of one metric, "at least" its 95 % lower bound; the other columns say how
often a true 10 % is found, by the worst row of a kind, and where the median of `smallest_detectable` lies against the
true one (their ratio in logarithms, lowest to highest).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, product
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from offline.differences.analysis import estimate
from offline.differences.estimates import Estimates
from offline.differences.observations import Observations
from offline.differences.twogroups import two_groups
from tests.offline.differences.simulatedruns import (
    KINDS,
    Outcome,
    Setting,
    compared,
    kind,
    outcome,
    simulate,
    until,
    until_starts,
)

SEED = 20260110
DISTURBANCES: dict[str, dict[str, object]] = {
    "none": {},
    "linear drift of 30 %": {"drift": "linear"},
    "one step of 30 %": {"drift": "step"},
    "stalls: 10 % of trials, half as long again": {"stalls": True},
}
DESIGNS: dict[str, dict[str, object]] = {
    "all starts alive together": {"groups": 1},
    "five rounds": {"rounds": 5},
    "three starts an arm": {"starts": 3, "groups": 3},
    "four starts an arm": {"starts": 4, "groups": 4},
}
FEW = {2: (2, 6), 3: (2, 4), 4: (2, 3)}  # starts of each of so many arms: the fewest, and those that a sweep plans
BLOCKS = (16, 32, 64, 128)
NOISY = (3.0, 10.0)  # how many times as much as in the others starts scatter in one cell
NOISY_CELLS = {"cold": 0, "warm": -1}
WILD = (2.0, 5.0, 10.0)  # how many times as much as the others' the starts of one arm scatter
HEADINGS = ("start", "trial", "machine", "false alarms", "at least", *KINDS, "detectable, between", "inside")


def null_runs(setting: Setting, runs: int, seed: int) -> Outcome:
    """What the table says in null runs."""
    estimates = estimate(simulate(setting, runs, seed))
    assert estimates is not None
    return outcome(estimates)


def line(setting: Setting, machine: str, result: Outcome) -> str:
    """A line of the table."""
    between = [result.detectable[each] for each in KINDS[:3]]
    spans = [(min(low for low, _ in between), max(high for _, high in between)), result.detectable[KINDS[3]]]
    cells = [f"{setting.start_spread:.0%}", f"{setting.trial_spread:.1%}", machine]
    cells += [f"{result.false_share:.1%}", f"{result.false_lower_bound:.1%}"]
    cells += [f"{result.found[each]:.0%}" for each in KINDS] + [f"{low:.2f} to {high:.2f}" for low, high in spans]
    return f"| {' | '.join(cells)} |"


def header() -> list[str]:
    return [f"| {' | '.join(HEADINGS)} |", f"|{' --- |' * len(HEADINGS)}"]


def grid(runs: int) -> Iterator[str]:
    """The default design: two starts an arm, in two groups, three rounds."""
    yield from ("## Two starts an arm, two groups, three rounds (the default)", "", *header())
    settings = [(start, trial) for start in (0.0, 0.01, 0.03) for trial in (0.001, 0.01, 0.10)]
    for number, (start, trial) in enumerate(settings):
        for name, changes in DISTURBANCES.items():
            setting = replace(Setting(start, trial), **changes)  # type: ignore[arg-type]
            yield line(setting, name, null_runs(setting, runs, SEED + number))


def designs(runs: int) -> Iterator[str]:
    """Other designs at spreads of 1 and 3 %."""
    yield from ("", "## Other designs", "", *header())
    for name, changes in DESIGNS.items():
        for start in (0.01, 0.03):
            setting = replace(Setting(start, 0.01), **changes)  # type: ignore[arg-type]
            yield line(setting, name, null_runs(setting, runs, SEED + 100))


def few_arms(runs: int) -> Iterator[str]:
    """Few arms, all with the same cold cells, with two starts each and with as many as a sweep plans."""
    yield from ("", "## Few arms", "")
    headings = ("arms", "starts", *HEADINGS[:1], *HEADINGS[2:5], "main effect", "one cell", "detectable", "one cell")
    yield from (f"| {' | '.join(headings)} |", f"|{' --- |' * len(headings)}")
    for arms, (fewest, planned) in FEW.items():
        lines = [
            *product((fewest, planned), (0.01, 0.03), ("none",)),
            *((planned, 0.01, name) for name in DISTURBANCES),
        ]
        for starts, spread, name in dict.fromkeys(lines):
            setting = Setting(spread, 0.01, starts=starts, groups=starts, block_sizes=BLOCKS[:arms], caching=("off",))
            estimates = estimate(simulate(replace(setting, **DISTURBANCES[name]), runs, SEED + 120))  # type: ignore[arg-type]
            assert estimates is not None
            result, detectable = outcome(estimates), smallest_detectable(estimates)
            cells = [str(arms), str(starts), f"{spread:.0%}", name, f"{result.false_share:.1%}"]
            cells += [f"{result.false_lower_bound:.1%}", *(f"{result.found[each]:.0%}" for each in KINDS[:2])]
            yield f"| {' | '.join([*cells, *(f'{detectable[each]:.1%}' for each in KINDS[:2])])} |"


def smallest_detectable(estimates: Estimates) -> dict[str, float]:
    """The median over runs of the smallest difference that could be found, of the worst row of each kind."""
    medians = np.expm1(np.median(estimates.smallest_detectable(), axis=0))
    kinds = [kind(contrast) for contrast in estimates.contrasts]
    return {each: max(medians[i] for i, other in enumerate(kinds) if other == each) for each in set(kinds)}


def unequal(runs: int) -> Iterator[str]:
    """Four starts an arm, of which those of one arm scatter more."""
    yield from ("", "## Four starts an arm; those of one arm scatter more", "", *header())
    for wild in WILD:
        for groups in (4, 2):
            setting = Setting(0.01, 0.01, starts=4, groups=groups, wild=wild)
            yield line(setting, f"{wild:.0f} times; {groups} groups", null_runs(setting, runs, SEED + 150))


def noisy(runs: int) -> Iterator[str]:
    """Starts that scatter more in one cell, the same in all arms that have it."""
    yield from ("", "## Starts scatter more in one cell", "", *header())
    for (state, cell), times, starts in product(NOISY_CELLS.items(), NOISY, (2, 3, 4)):
        setting = Setting(0.01, 0.01, starts=starts, groups=starts, noisy=times, noisy_cell=cell)
        yield line(setting, f"{state} cell, {times:.0f} times; {starts} starts", null_runs(setting, runs, SEED + 160))


def adaptive(runs: int) -> Iterator[str]:
    """`--until`: stopped at the first look that is precise enough."""
    yield from (
        "",
        "## Stopped when the widest main effect is narrow enough: eight looks, at most twelve rounds",
        "",
        *header(),
    )
    for start, trial, half_width in ((0.0, 0.03, 0.05), (0.01, 0.01, 0.05), (0.01, 0.03, 0.05), (0.01, 0.10, 0.10)):
        for name, changes in DISTURBANCES.items():
            setting = replace(Setting(start, trial), **changes)  # type: ignore[arg-type]
            result, rounds = until(setting, runs, SEED + 200, half_width)
            yield line(setting, f"{name}; ± {half_width:.0%}, {rounds:.1f} rounds", result)


def adaptive_starts(runs: int) -> Iterator[str]:
    """`--until` of few arms: starts are added, and every look may end the run."""
    yield from ("", "## Few arms, stopped when the widest main effect is narrow enough: two to eight starts", "")
    yield from ("| arms | start | until | starts | false alarms | at least |", f"|{' --- |' * 6}")
    for arms, spread, half_width in product((2, 3), (0.003, 0.01, 0.03, 0.06), (0.03, 0.05, 0.10)):
        setting = Setting(spread, 0.01, starts=8, block_sizes=BLOCKS[:arms], caching=("off",), batch_sizes=(1, 8))
        result, starts = until_starts(setting, runs, SEED + 210, half_width)
        cells = (str(arms), f"{spread:.1%}", f"± {half_width:.0%}", f"{starts:.1f}", f"{result.false_share:.1%}")
        yield f"| {' | '.join(cells)} | {result.false_lower_bound:.1%} |"


def comparisons(runs: int) -> Iterator[str]:
    """Two null runs of different times, on a machine that moves between them."""
    yield from ("", "## offline.compare: two runs of the same settings", "")
    yield "| start | trial | machine moved | in a run | false alarms | at least | all cells | one cell |"
    yield f"|{' --- |' * 8}"
    for start, moved in ((0.0, 0.0), (0.0, 0.02), (0.01, 0.02), (0.01, 0.05), (0.03, 0.02)):
        for name, changes in DISTURBANCES.items():
            result = compared(replace(Setting(start, 0.01, moved=moved), **changes), runs, SEED + 300)  # type: ignore[arg-type]
            cells = [f"{start:.0%}", "1.0%", f"{moved:.0%}", name, f"{result.false_share:.1%}"]
            cells += [f"{result.false_lower_bound:.1%}", *(f"{result.found[each]:.0%}" for each in KINDS[:2])]
            yield f"| {' | '.join(cells)} |"


def noisy_comparisons(runs: int) -> Iterator[str]:
    """Two null runs in which one cell of all arms, or all cells of one arm, scatter more from start to start."""
    yield from ("", "## offline.compare: starts scatter more in one cell, or in one arm", "")
    yield "| starts in each run | scatter more | false alarms | at least | all cells | one cell |"
    yield f"|{' --- |' * 6}"
    changes: list[tuple[str, dict[str, object]]] = [
        (f"{state} cell, {times:.0f} times", {"noisy": times, "noisy_cell": cell})
        for (state, cell), times in product(NOISY_CELLS.items(), NOISY)
    ]
    changes += [(f"one arm, {times:.0f} times", {"wild": times}) for times in WILD]
    for (name, change), starts in product(changes, (2, 3, 4)):
        result = compared(replace(Setting(0.01, 0.01, starts=starts, groups=starts), **change), runs, SEED + 310)  # type: ignore[arg-type]
        cells = [str(starts), name, f"{result.false_share:.1%}", f"{result.false_lower_bound:.1%}"]
        yield f"| {' | '.join([*cells, *(f'{result.found[each]:.0%}' for each in KINDS[:2])])} |"


def states(runs: int) -> Iterator[str]:
    """Two groups of starts of one arm."""
    yield from ("", "## Two groups of starts, spread 1 %", "", "| starts | false alarms | a gap of 20 % found |")
    yield "| --- | --- | --- |"
    for count in (6, 8, 12):
        shares = [np.mean([_state_found(count, gap, SEED + run) for run in range(runs)]) for gap in (0.0, np.log(1.2))]
        yield f"| {count} | {shares[0]:.1%} | {shares[1]:.1%} |"


def states_in_turns(runs: int) -> Iterator[str]:
    """Two arms of six starts in turns, as they are planned, on a machine that moves: nobody has a state."""
    yield from ("", "## Two groups of starts that nobody has: two arms, six starts each, in turns", "")
    yield from ("| start | trial | machine | false alarms |", "| --- | --- | --- | --- |")
    for spread, (name, changes) in product((0.001, 0.01, 0.03), DISTURBANCES.items()):
        setting = Setting(spread, 0.01, starts=6, groups=6, block_sizes=BLOCKS[:2], caching=("off",))
        simulated = simulate(replace(setting, **changes), runs, SEED + 400)  # type: ignore[arg-type]
        false = np.mean([bool(two_groups(replace(simulated, logs=logs))) for logs in simulated.logs])
        yield f"| {spread:.1%} | 1.0% | {name} | {false:.1%} |"


def _state_found(count: int, gap: float, seed: int) -> bool:
    """Whether two groups are named among starts of which some, at least one and not all, are in the faster state."""
    rng, zeros = np.random.default_rng(seed), np.zeros(count, dtype=int)
    fast = rng.permutation(count) < rng.integers(1, count)
    logs = (rng.normal(0, 0.01, count) + gap * fast)[:, None, None]
    return bool(two_groups(Observations(logs, zeros, zeros, ({"seed": 0},), ({},), tuple(range(count)))))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="example: python tests/bench/differences.py --runs 200"
    )
    parser.add_argument("--runs", type=int, default=1000, help="simulated runs a setting")
    parser.add_argument("--out", type=Path, help="write the table to this file")
    args = parser.parse_args()
    np.seterr(invalid="ignore")
    began = time.monotonic()
    command = f"python tests/bench/differences.py --runs {args.runs}"
    head = ["# False alarms and power of the table of differences", "", *(__doc__ or "").splitlines(), ""]
    head += [
        f"`{command}`, {time.strftime('%Y-%m-%d')}: {args.runs} simulated runs a line, seeds fixed beforehand.",
        "",
    ]
    lines = []
    parts = (
        grid,
        designs,
        few_arms,
        unequal,
        noisy,
        adaptive,
        adaptive_starts,
        comparisons,
        noisy_comparisons,
        states,
        states_in_turns,
    )
    for line_of_text in chain(head, *(part(args.runs) for part in parts)):
        print(line_of_text, flush=True)
        lines.append(line_of_text)
    print(f"took {time.monotonic() - began:.0f} s", file=sys.stderr)
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
