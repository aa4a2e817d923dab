"""The dump of a hang, taken while it lasts and written beside what is kept of the rings: as text, and as a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from probes.errors import EnginescopeError
from tracing.hang import report
from tracing.hang.doing import NO_HANG
from tracing.hang.live import look

TEXT, PAGE = "hang.txt", "hang.html"
SECONDS = 2.0  # between the two looks: the rings are not read meanwhile


@dataclass(frozen=True)
class HangDump:
    """The report of `tracing.hang`, its answer first, and its page; `is_hang` is False where that answer is no hang."""

    text: str
    page: str
    is_hang: bool = True

    @property
    def answer(self) -> str:
        """Its first line."""
        return self.text.partition("\n")[0]

    def write(self, folder: Path) -> None:
        """Write it into a folder that was kept."""
        (folder / TEXT).write_text(self.text)
        if self.page:
            (folder / PAGE).write_text(self.page)


def take(pid: int) -> HangDump:
    """The dump of the engine that a process belongs to; where there can be none its text says why."""
    try:
        situation, explanation = look.explained(*look.group_at(str(pid)), SECONDS)
    except EnginescopeError as error:
        return HangDump(f"not known: {error}\n", "")
    text = "".join(f"{line}\n" for line in report.lines(situation, explanation))
    is_hang = explanation.answers[0].cause not in NO_HANG
    return HangDump(text, report.html(situation, explanation), is_hang)


def text_in(folder: Path) -> str:
    """The text of the dump in a folder that was kept; nothing where it has none."""
    path = folder / TEXT
    return path.read_text() if path.exists() else ""
