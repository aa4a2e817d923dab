"""The learner's own batches: records that `probes.batch` wrote, and the checks that read them (days 1, 4 and 6)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

from notes.study.exercises import WrongAnswer, expect, same
from probes.batch.outcomes import lines
from probes.batch.record import Record, parsed

PROMPTS = Path(__file__).parents[1] / "prompts.txt"
HINT = "the path of the file that you gave as --output, from the folder that you are in"


def records(path: Any, name: str) -> list[Record]:
    """The records of a batch over the day's twenty prompts; what else the file may be is a wrong answer."""
    expect(isinstance(path, str | Path), f"{name} is {path!r}, not a path", HINT)
    expect(Path(path).is_file(), f"{name}: there is no file {path}", HINT)
    batch = [record for line in lines(Path(path)) if (record := parsed(line, Path(path)))]
    expect(bool(batch), f"{name}: {path} holds no record of a batch", "python -m probes.batch … --output writes it")
    same(len(batch), prompts(), f"{name}: the number of records", f"--input {PROMPTS.name}, all of it, into a new file")
    return batch


def prompts() -> int:
    """How many prompts the sample has."""
    return len(PROMPTS.read_text(encoding="utf-8").splitlines())


def first_batch(mine: Any) -> str:
    """all twenty prompts of the sample were answered, by the stub or by a server"""
    batch = records(mine.BATCH, "BATCH")
    failed = [record for record in batch if not record.ok]
    expect(
        not failed,
        f"{len(failed)} failed, the first with {failed[0].error_type if failed else ''}",
        "was the stub started with --trouble?",
    )
    return (
        f"{len(batch)} of {len(batch)} answered by {batch[0].model}, median {median(r.latency_s for r in batch):.2f} s"
    )


def retries_seen(mine: Any) -> str:
    """the stub in trouble, without and with retries: fewer fail, and what is refused fails all the same"""
    runs = _runs(mine.RUNS, ("before", "after"))
    before, after = runs["before"], runs["after"]
    same(max(record.attempts for record in before), 1, "before: the most attempts of a prompt", "--retries 0")
    expect(any(record.attempts > 1 for record in after), "after: no prompt was sent twice", "--retries 2")
    failed = {name: sum(not record.ok for record in run) for name, run in runs.items()}
    expect(failed["before"] > failed["after"], f"{failed['before']} failed before and {failed['after']} after")
    longest_s = max(record.latency_s for record in after)
    return f"{failed['before']} failed without retries, {failed['after']} with; the slowest then took {longest_s:.1f} s"


def distribution_right(mine: Any) -> str:
    """`failures(path)` counts your own two files by error_type, the commonest first, and nothing that succeeded"""
    words = []
    for name, run in _runs(getattr(mine, "RUNS", None), ("before", "after")).items():
        answer = mine.failures(mine.RUNS[name])
        counts = Counter(record.error_type for record in run if not record.ok)
        expect(isinstance(answer, dict), f"failures({mine.RUNS[name]!r}) is {answer!r}, not a dict")
        same(answer, dict(counts), f"failures of {name}", "json.loads for each line; error_type, where ok is false")
        sizes = list(answer.values())
        expect(
            sizes == sorted(sizes, reverse=True), f"{answer} does not begin with the commonest", "Counter.most_common"
        )
        words.append(f"{name}: {', '.join(f'{count} {kind}' for kind, count in answer.items()) or 'none'}")
    return "; ".join(words)


def streamed_beside_whole(mine: Any) -> str:
    """the same prompts, whole and streamed: who streams sees the first words earlier, and the last at the same time"""
    runs = _runs(mine.RUNS, ("whole", "streamed"))
    for name, streams in (("whole", False), ("streamed", True)):
        wrong = [record for record in runs[name] if record.stream != streams]
        expect(not wrong, f"{name}: {len(wrong)} records were {'not ' * streams}streamed", "--stream, or not")
    good = {name: [record for record in run if record.ok] for name, run in runs.items()}
    if not all(good.values()):
        raise WrongAnswer("in one of the two nothing was answered", "python -m probes.report --input FILE says why")
    first_s = [record.ttft_s for record in good["streamed"] if record.ttft_s is not None]
    expect(bool(first_s), "streamed: no chunk ever came")
    whole_s, all_s = (median(record.latency_s for record in good[name]) for name in ("whole", "streamed"))
    return f"whole: all after {whole_s:.2f} s; streamed: first after {median(first_s):.2f} s, all after {all_s:.2f} s"


def _runs(answer: Any, names: tuple[str, ...]) -> dict[str, list[Record]]:
    expect(
        isinstance(answer, dict) and set(answer) == set(names), f"RUNS is {answer!r}; its keys are {', '.join(names)}"
    )
    return {name: records(answer[name], f"RUNS[{name!r}]") for name in names}
