"""Since which version is vLLM slower? Sweeps of two environments at a time: the good one and one in question."""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version
from rich.console import Console

from offline.differences.difference import SLOWER, Difference
from offline.differences.run import HEADLINE
from offline.environments.building import installed_vllm
from offline.page.reported import reported_run
from offline.page.summary import effect
from offline.spec.grid import VLLM
from offline.spec.plan import REPEATS
from offline.spec.settings import SpecValues
from offline.sweep.measurement import measure
from offline.sweep.preparation import new_run
from probes.console import console
from probes.errors import INTERRUPTED, EnginescopeError, usage_error

BUDGET_S = 7200.0
# What a step sweeps where nothing else was asked for: one pair of arms, with a block size that every platform takes,
# and no more trials than it takes: the time is for steps.
ONE_PAIR: SpecValues = {"block_size": [64], "prefix_caching": ["off"], "repeats": REPEATS}
LISTED = "Available versions: "  # before what pip says of an index


@dataclass(frozen=True)
class Bisection:
    """The last version that is known to be as fast as the good one, the first that is known to be slower, and why
    nothing closer is known where versions are left between them."""

    good: str
    bad: str
    left: tuple[str, ...] = ()
    reason: str = ""

    @property
    def sentence(self) -> str:
        """`It became slower from 0.30.0 to 0.31.0.`, and how to see where."""
        between = f" ({self.reason}; between them: {', '.join(self.left)})" if self.left else ""
        return (
            f"It became slower from {self.good} to {self.bad}{between}. Where: python -m offline.sweep "
            f"--vllm {self.good},{self.bad} --trace"
        )


def bisect(args: argparse.Namespace, values: SpecValues) -> int:
    """The command: the versions in order are `--vllm`, or those that the index has between the good and the bad one."""
    if args.plan or args.resume is not None or args.on:
        raise usage_error("--bisect makes runs of its own, here: leave --plan, --resume and --on out")
    good, bad = args.bisect
    values = ONE_PAIR | values
    versions = [good, *(values.pop(VLLM, None) or versions_between(listed_versions(), good, bad)), bad]
    budget_s, began, steps = getattr(args, "budget", BUDGET_S), time.monotonic(), list[float]()
    vars(args).pop("budget", None)  # it is that of all runs together
    progress = Console(stderr=True)
    progress.print(f"versions       {', '.join(versions)}", soft_wrap=True, highlight=False)

    def measure_step(version: str) -> Difference:
        step_began = time.monotonic()
        row = sweep(args, {**values, VLLM: [good, version]})
        steps.append(time.monotonic() - step_began)
        progress.print(f"step {len(steps)}: {effect(row)}", soft_wrap=True, highlight=False)
        return row

    result = find_slower(versions, measure_step, lambda: time.monotonic() - began + max(steps) <= budget_s)
    console().print(result.sentence, soft_wrap=True)
    return 0


def find_slower(
    versions: Sequence[str], compare: Callable[[str], Difference], affords: Callable[[], bool]
) -> Bisection:
    """Halve the versions between the first, which is good, and the last, as long as the time affords another step.

    `compare` measures a version with the first one. It is bad where its ratio is, beyond the interval, nearer to that
    of the last version, in logarithms, and good where it is nearer to 1: a smaller change before does not count.
    """
    whole = compare(versions[-1])
    if whole.verdict != SLOWER:
        raise EnginescopeError(
            f"{versions[-1]} is not seen to be slower than {versions[0]}, so that there is nothing to look for: "
            f"{effect(whole)} More --starts find smaller differences"
        )
    halfway, low, high = math.sqrt(whole.ratio), 0, len(versions) - 1
    while high - low > 1:
        left = versions[low], versions[high], tuple(versions[low + 1 : high])
        if not affords():
            return Bisection(*left, "the budget does not hold another step")
        middle = (low + high) // 2
        try:
            row = compare(versions[middle])
        except EnginescopeError as error:
            return Bisection(*left, f"{versions[middle]} could not be measured: {error}")
        if row.lo <= halfway <= row.hi:
            return Bisection(*left, f"{versions[middle]} cannot be judged either way: {row.interval}")
        low, high = (low, middle) if row.hi < halfway else (middle, high)
    return Bisection(versions[low], versions[high])


def sweep(args: argparse.Namespace, values: SpecValues) -> Difference:
    """Run the grid with two environments; their difference in output tokens a second, with cold caches if with any."""
    run = new_run(args, values)
    assert run is not None  # it is None for --plan only
    if measure(run, args.time_limit, args.all) == INTERRUPTED:
        raise KeyboardInterrupt
    metric = reported_run(run.folder.path).differences.by_metric.get(HEADLINE)
    rows = [row for row in metric.main if row.axis == VLLM] if metric else []
    if not rows:
        raise EnginescopeError(
            f"{run.folder.path} tells nothing of its environments: see its log, or give more --starts"
        )
    return rows[0]


def listed_versions() -> str:
    """What pip says of the installed vLLM's distribution in its index."""
    words = [sys.executable, "-m", "pip", "index", "versions", installed_vllm()]
    answer = subprocess.run(words, capture_output=True, text=True)
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or ["no output"])[-1]
        raise EnginescopeError(f"pip does not list vLLM's versions: {last}; name those between with --vllm")
    return answer.stdout


def versions_between(listing: str, good: str, bad: str) -> list[str]:
    """The versions of pip's listing between two, without those before a release, the oldest first.

    | listing                                          | good   | bad    | versions     |
    | ------------------------------------------------ | ------ | ------ | ------------ |
    | `Available versions: 0.32.0, 0.31.1rc1, 0.31.0`  | 0.30.0 | 0.32.0 | `["0.31.0"]` |
    """
    try:
        first, last = Version(good), Version(bad)
    except InvalidVersion:
        raise usage_error("--bisect: of folders or Pythons name those between the two, in order, with --vllm") from None
    names = next((line for line in listing.splitlines() if line.startswith(LISTED)), LISTED).removeprefix(LISTED)
    every = sorted(map(Version, filter(None, names.split(", "))))
    return [str(each) for each in every if first < each < last and not each.is_prerelease]
