"""`python -m notes.study`: the study plan day by day, and a judge for what the learner writes.

The texts are in `notes/study/`, the checks in `notes/study/exercises/`; `notes.study.judging` runs the learner's file.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from notes.study import texts
from notes.study.judging import exercises, judge
from notes.study.messages import Broken, CheckBegins, Ended, ExerciseBegins, Failed, Message, NotDefined, Passed
from probes.arguments import CommandParser
from probes.errors import FAILED, run_main, usage_error

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 100  # of a page and of lines that wrap
ENDINGS = {
    "late": "it was still running when its time was over, and was ended: does it wait for itself?",
    "died": "it ended its Python in the middle of this: no sys.exit(), no os._exit()",
}
EPILOG = """examples:
  python -m notes.study                    the seven days
  python -m notes.study 3                  day 3: what to read, to run and to write
  python -m notes.study 3 my_answer.py     check your file; it says what is wrong
  python -m notes.study questions          what people are asked about vLLM, with answers

exit codes: 0 all right, 1 an exercise is wrong or not written yet, 2 bad usage, 130 Ctrl-C
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m notes.study",
        description="Seven days of two hours, from running the default model to explaining vLLM's main path.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("page", nargs="?", metavar="N", help="a day, 1 to 7, or: questions")
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="your answers to that day: Python; day 7 Markdown"
    )
    return parser


def main() -> int:
    """The command."""
    args = parser().parse_args()
    from rich.console import Console

    out = Console(highlight=False, soft_wrap=True)
    if args.page is None:
        return print_pages(out)
    if args.page not in texts.PAGES:
        raise usage_error(f"there is no day {args.page!r}: a number from 1 to 7, or: questions")
    if args.file is None:
        return print_page(args.page, out)
    if args.page == texts.QUESTIONS:
        raise usage_error("the questions have no exercises: give a day's number before FILE")
    return print_verdict(int(args.page), answer_file(int(args.page), args.file), out)


def print_pages(out: Console) -> int:
    """All pages by title."""
    for page in texts.PAGES:
        out.print(f"{page:10} {texts.title(page)}", markup=False)
    out.print("\npython -m notes.study 1 begins.", markup=False)
    return 0


def print_page(page: str, out: Console) -> int:
    """A page: laid out on a terminal, as Markdown elsewhere."""
    text = texts.text(page)
    if out.is_terminal:
        from rich.markdown import Markdown

        out.print(Markdown(text), width=min(WIDTH, out.width), soft_wrap=False)
    else:
        out.print(text, markup=False)
    return 0


def answer_file(day: int, file: Path) -> Path:
    """The learner's file as an absolute path; refused where it is none, or of the wrong kind for the day."""
    suffix = ".md" if day == 7 else ".py"
    if not file.is_file():
        raise usage_error(f"there is no file {file}")
    if file.suffix != suffix:
        raise usage_error(f"day {day} wants a {suffix} file, not {file.name}")
    return file.resolve()


def print_verdict(day: int, file: Path, out: Console) -> int:
    """Run the file through the day's exercises and print how each went; a failure unless all are right."""
    names = [exercise.name for exercise in exercises(day)]
    wrong: set[str] = set()
    name = check = ""
    out.print(f"day {day}, {file.name}", markup=False)
    for message in judge(day, file):
        match message:
            case ExerciseBegins(name):
                pass
            case CheckBegins(check):
                pass
            case NotDefined() | Failed():
                wrong.add(name)
            case Broken():
                wrong.update(names)
            case Ended("late" | "died" as ending):
                wrong.update(names[names.index(name) if name else 0 :])
                message = Failed(check or "it is loaded", ENDINGS[ending], "", ())
        for line in lines(message):
            out.print(line, markup=False)
    count = len(names) - len(wrong)
    finish = "" if wrong else f": day {day} is done"
    out.print(f"\n{count} of {len(names)} exercises right{finish}", markup=False)
    return FAILED if wrong else 0


def lines(message: Message) -> Iterator[str]:
    """The lines for one message; a check's sentence comes with its outcome."""
    match message:
        case Broken(reason, at):
            yield f"  wrong  the file cannot be loaded: {reason}"
            yield from (f"         {line}" for line in at)
        case ExerciseBegins(name):
            yield f"\n{name}"
        case NotDefined():
            yield "  open   your file does not define it yet"
        case Passed(check, measurement):
            yield f"  right  {check}"
            if measurement:
                yield f"         {measurement}"
        case Failed(check, reason, hint, at):
            yield f"  wrong  {check}"
            yield f"         {reason}"
            yield from (f"         {line}" for line in at)
            if hint:
                yield f"         hint: {hint}"


if __name__ == "__main__":
    run_main(main)
