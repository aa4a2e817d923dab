"""`python -m notes.study`: the study plan day by day, and a judge for what the learner writes.

The texts are in `notes/study/`, the checks in `notes/study/exercises/`; `notes.study.judging` runs the learner's file.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.errors import FAILED, run_main, usage_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

WIDTH = 100  # of a page and of lines that wrap
ENDED = {
    "late": "it was still running when its time was over, and was ended: does it wait for itself?",
    "died": "it ended its Python in the middle of this: no sys.exit(), no os._exit()",
}
EPILOG = """examples:
  python -m notes.study                    the seven days
  python -m notes.study 3                  day 3: what to read, to run and to write
  python -m notes.study 3 my_answer.py     checks your file; it says what is wrong
  python -m notes.study questions          what people are asked about vLLM, with answers

exit codes: 0 all right, 1 an exercise is wrong or not written yet, 2 bad usage, 130 Ctrl-C
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m notes.study",
        description="Seven days of two hours, from running the default model to explaining vLLM's main path.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("page", nargs="?", metavar="N", help="a day, 1 to 7, or: questions")
    made.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="your answers to that day: Python; day 7 Markdown"
    )
    return made


def main() -> int:
    """The command."""
    args = parser().parse_args()
    from rich.console import Console

    from notes.study import texts

    out = Console(highlight=False, soft_wrap=True)
    if args.page is None:
        return listed(out)
    if args.page not in texts.PAGES:
        raise usage_error(f"there is no day {args.page!r}: a number from 1 to 7, or: questions")
    if args.file is None:
        return shown(args.page, out)
    if args.page == texts.QUESTIONS:
        raise usage_error("the questions have no exercises; a day's number comes before FILE")
    return judged(int(args.page), answers(int(args.page), args.file), out)


def listed(out: Console) -> int:
    """All pages by title."""
    from notes.study import texts

    for page in texts.PAGES:
        out.print(f"{page:10} {texts.title(page)}", markup=False)
    out.print("\npython -m notes.study 1 begins.", markup=False)
    return 0


def shown(page: str, out: Console) -> int:
    """A page: laid out on a terminal, as Markdown elsewhere."""
    from notes.study import texts

    text = texts.text(page)
    if out.is_terminal:
        from rich.markdown import Markdown

        out.print(Markdown(text), width=min(WIDTH, out.width), soft_wrap=False)
    else:
        out.print(text, markup=False)
    return 0


def answers(day: int, file: Path) -> Path:
    """The learner's file as an absolute path; refused where it is none, or of the wrong kind for the day."""
    wanted = ".md" if day == 7 else ".py"
    if not file.is_file():
        raise usage_error(f"there is no file {file}")
    if file.suffix != wanted:
        raise usage_error(f"day {day} wants a {wanted} file, not {file.name}")
    return file.resolve()


def judged(day: int, file: Path, out: Console) -> int:
    """Run the file through the day's exercises and print what came of each; a failure unless all are right."""
    from notes.study.judging import exercises, sit

    names = [exercise.name for exercise in exercises(day)]
    right, at = dict.fromkeys(names, True), ""
    out.print(f"day {day}, {file.name}", markup=False)
    doing: dict[str, Any] = {}
    for message in sit(day, file):
        at, doing = message.get("exercise", at), message if "check" in message else doing
        if "broken" in message:
            right = dict.fromkeys(names, False)
        elif at:
            right[at] &= not {"missing", "wrong"} & set(message)
        if message.get("end", "done") != "done":
            right |= dict.fromkeys(names[names.index(at) if at else 0 :], False)
            message = {
                "wrong": ENDED[message["end"]],
                "at": [],
                "hint": "",
                "check": doing.get("check", "it is loaded"),
            }
        for line in told(message):
            out.print(line, markup=False)
    count = sum(right.values())
    done = f": day {day} is done" if count == len(names) else ""
    out.print(f"\n{count} of {len(names)} exercises right{done}", markup=False)
    return 0 if done else FAILED


def told(message: dict[str, Any]) -> Iterable[str]:
    """The lines for one message of a sitting; a check's sentence comes with its outcome."""
    match message:
        case {"broken": text, "at": at}:
            yield f"  wrong  the file cannot be loaded: {text}"
            yield from (f"         {line}" for line in at)
        case {"exercise": name}:
            yield f"\n{name}"
        case {"missing": _}:
            yield "  open   your file does not define it yet"
        case {"right": measured, "check": check}:
            yield f"  right  {check}"
            if measured:
                yield f"         {measured}"
        case {"wrong": what, "hint": hint, "at": at, "check": check}:
            yield f"  wrong  {check}"
            yield f"         {what}"
            yield from (f"         {line}" for line in at)
            if hint:
                yield f"         hint: {hint}"


if __name__ == "__main__":
    run_main(main)
