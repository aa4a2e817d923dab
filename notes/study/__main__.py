"""`python -m notes.study`: the study plan day by day, and a judge for what the learner writes.

The texts are in `notes/study/`, the checks in `notes/study/exercises/`; `notes.study.judging` runs the learner's file.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from notes.study import progress, recording, texts
from notes.study.judging import exercises, judge
from notes.study.verdict import FileVerdict
from notes.translation import labels
from notes.translation.editions import ENGLISH, LANGUAGES
from notes.translation.labels import Labels
from probes.arguments import CommandParser
from probes.errors import FAILED, run_main, usage_error

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 100  # of a page and of lines that wrap
EPILOG = """examples:
  python -m notes.study                    the seven days, how far you are, and pages to look things up in
  python -m notes.study 3                  day 3: what to read, to run, to write and to say, and what is open of it
  python -m notes.study 3 my_answer.py     check your file; it says what is wrong, and notes what is right
  python -m notes.study --saw 1.2 "20 of 20 answered, P95 0.9 s"     note a step of a day's self-check
  python -m notes.study open               every step that is not done yet
  python -m notes.study questions          what people are asked about vLLM, with answers and your own figures
  python -m notes.study 3 --lang zh        day 3 in Chinese; every page that prints a text has it
  python -m notes.study recorded           a recorded request, and a recorded abort, call by call
  python -m notes.study stub --trouble     a server that computes nothing and fails on purpose, until Ctrl-C

exit codes: 0 all right, 1 an exercise is wrong or not written yet, 2 bad usage, 130 Ctrl-C
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m notes.study",
        description="Seven days of two hours, from a first batch of prompts to explaining vLLM's main path.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "page", nargs="?", metavar="N", help=f"a day, 1 to 7, or: {', '.join((*texts.LOOKED_UP, *SHOWN))}, stub"
    )
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="your answers to that day: Python; day 7 Markdown"
    )
    parser.add_argument("--saw", nargs=2, metavar=("STEP", "WORDS"), help="note what you saw at a step")
    parser.add_argument(
        "--progress", type=Path, default=progress.FILE, metavar="FILE", help=f"what is done (default {progress.FILE})"
    )
    parser.add_argument("--lang", choices=LANGUAGES, default=ENGLISH, help="the language of the texts (default en)")
    parser.add_argument("--trouble", action="store_true", help="stub: fail on purpose")
    parser.add_argument("--port", type=int, default=8001, metavar="N", help="stub: its port (default 8001)")
    return parser


def main() -> int:
    """The command."""
    args = parser().parse_args()
    from rich.console import Console

    out = Console(highlight=False, soft_wrap=True)
    if args.saw:
        step, words = args.saw
        return note_step(step, words, args.progress, out)
    if args.page == "stub":
        return serve_stub(args.trouble, args.port)
    notes, say = progress.read(args.progress), labels.read(args.lang)
    if args.page is None:
        return print_pages(notes, say, out)
    if args.page in SHOWN:
        return SHOWN[args.page](notes, say, out)
    if args.page not in texts.PAGES:
        others = ", ".join((*texts.LOOKED_UP, *SHOWN, "stub"))
        raise usage_error(f"there is no day or page {args.page!r}: a number from 1 to 7, or: {others}")
    if args.file is None:
        return print_page(args.page, notes, say, out)
    if not args.page.isdigit():
        raise usage_error(f"the page {args.page} has no exercises: give a day's number before FILE")
    return print_verdict(int(args.page), answer_file(int(args.page), args.file), args.progress, out)


def note_step(step: str, words: str, file: Path, out: Console) -> int:
    """Note what was seen at a step."""
    expected = progress.find_step(step).expected
    progress.note(file, {step: words})
    out.print(f"Wrote {file}: step {step} is done\n  expected: {expected}\n  saw: {words}", markup=False)
    return 0


def serve_stub(troubled: bool, port: int) -> int:
    """Serve the stub until Ctrl-C."""
    import asyncio

    from notes.study import stub

    asyncio.run(stub.serve(troubled, port))
    return 0


def print_pages(notes: progress.Progress, say: Labels, out: Console) -> int:
    """All pages by title, the days with how far they are."""
    for page in texts.PAGES:
        far = f" ({progress.tally(int(page), notes, say)})" if page.isdigit() else ""
        out.print(f"{page:10} {texts.title(page, say.language)}{far}", markup=False)
    out.print(f"\n{say('python -m notes.study 1 begins.')}", markup=False)
    return 0


def print_open(notes: progress.Progress, say: Labels, out: Console) -> int:
    """The steps of all days that are not done."""
    for day in texts.DAYS:
        out.print(say("day {day}: {far}", day=day, far=progress.tally(day, notes, say)), markup=False)
        for step in progress.steps(day, say):
            if step.name not in notes:
                out.print(progress.line(step, notes, say), markup=False)
    return 0


def print_recorded(notes: progress.Progress, say: Labels, out: Console) -> int:
    """The recorded stories."""
    for line in recording.lines(recording.read()):
        out.print(line, markup=False)
    return 0


SHOWN = {"open": print_open, "recorded": print_recorded}


def print_page(page: str, notes: progress.Progress, say: Labels, out: Console) -> int:
    """A page: laid out on a terminal, as Markdown elsewhere; below a day its steps, done and open."""
    text = progress.with_notes(texts.text(page, say.language), notes, say)
    if out.is_terminal:
        from rich.markdown import Markdown

        out.print(Markdown(text), width=min(WIDTH, out.width), soft_wrap=False)
    else:
        out.print(text, markup=False)
    if page.isdigit():
        out.print(f"\n{progress.tally(int(page), notes, say)}", markup=False)
        for step in progress.steps(int(page), say):
            out.print(progress.line(step, notes, say), markup=False)
    return 0


def answer_file(day: int, file: Path) -> Path:
    """The learner's file as an absolute path; refused where it is none, or of the wrong kind for the day."""
    suffix = ".md" if day == 7 else ".py"
    if not file.is_file():
        raise usage_error(f"{file} is a folder: name your file in it" if file.is_dir() else f"there is no file {file}")
    if file.suffix != suffix:
        raise usage_error(f"day {day} wants a {suffix} file, not {file.name}")
    return file.resolve()


def print_verdict(day: int, file: Path, progress_file: Path, out: Console) -> int:
    """Run the file through the day's exercises, print how each went and note what is right; a failure unless all is."""
    out.print(f"day {day}, {file.name}", markup=False)
    verdict = FileVerdict()
    for line in verdict.lines(judge(day, file)):
        out.print(line, markup=False)
    if verdict.outcomes:
        progress.note(progress_file, {f"{day}.{name}": words for name, words in verdict.outcomes.items()})
    count = len(exercises(day))
    finish = f": day {day} is written" if len(verdict.outcomes) == count else ""
    out.print(f"\n{len(verdict.outcomes)} of {count} exercises right{finish}", markup=False)
    return 0 if finish else FAILED


if __name__ == "__main__":
    run_main(main)
