"""How a learner's file went through a day's exercises, in lines; what was seen at those that are right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from notes.study.messages import Broken, CheckBegins, Ended, ExerciseBegins, Failed, Message, NotDefined, Passed

ENDINGS = {
    "late": "it was still running when its time was over, and was ended: does it wait for itself?",
    "died": "it ended its Python in the middle of this: no sys.exit(), no os._exit()",
}
RIGHT = "right"


@dataclass
class FileVerdict:
    """The outcome so far: by exercise what was seen where all its checks passed."""

    outcomes: dict[str, str] = field(default_factory=dict)
    _exercise: str = ""
    _check: str = ""

    def lines(self, messages: Iterable[Message]) -> Iterator[str]:
        """The lines for what is reported, as it comes."""
        for message in messages:
            yield from lines(self._take(message))

    def _take(self, message: Message) -> Message:
        """Take a message in; a process that did not come to its end is a failure of the check it was at."""
        match message:
            case ExerciseBegins(name):
                self._exercise, self.outcomes[name] = name, RIGHT
            case CheckBegins(check):
                self._check = check
            case Passed(_, measurement) if measurement:
                self.outcomes[self._exercise] = measurement
            case NotDefined() | Failed():
                self.outcomes.pop(self._exercise, None)
            case Ended(ending):
                exercise, check, self._exercise, self._check = self._exercise, self._check, "", ""
                if ending != "done":
                    self.outcomes.pop(exercise, None)
                    return Failed(check or "it is loaded", ENDINGS[ending], "", ())
        return message


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
