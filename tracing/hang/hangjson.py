"""An explanation as JSON, for programs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from tracing.hang.doing import NO_HANG, HangCause
from tracing.hang.explanation import Explanation, HangAnswer, Link
from tracing.hang.report import facts
from tracing.hang.situation import LastSpan, ProcessState, Situation
from tracing.pyspy.events import Frame

SCHEMA = 1


@dataclass(frozen=True)
class ReportedFrame:
    function: str
    file: str
    line: int

    @classmethod
    def of(cls, frame: Frame | None) -> ReportedFrame | None:
        return cls(frame.name, frame.file, frame.line) if frame else None


@dataclass(frozen=True)
class ReportedAnswer:
    """As `HangAnswer`."""

    cause: str
    process: str
    text: str
    frame: ReportedFrame | None
    apart: str

    @classmethod
    def of(cls, answer: HangAnswer) -> ReportedAnswer:
        return cls(answer.cause, answer.process, answer.text, ReportedFrame.of(answer.frame), answer.apart)


@dataclass(frozen=True)
class ReportedLink:
    """As `Link`."""

    waiter: str
    awaited: str
    what: str
    frame: ReportedFrame | None

    @classmethod
    def of(cls, link: Link) -> ReportedLink:
        return cls(link.waiter, link.awaited, link.what, ReportedFrame.of(link.frame))


@dataclass(frozen=True)
class ReportedProcess:
    """As `MemberProcess`, without its stacks."""

    pid: int
    role: str
    title: str
    state: ProcessState | None


@dataclass(frozen=True)
class HangReport:
    """`hang` is False where the answer is none, null where it is not known."""

    schema: int
    hang: bool | None
    answers: tuple[ReportedAnswer, ...]
    chain: tuple[ReportedLink, ...]
    notes: tuple[str, ...]
    facts: tuple[str, ...]
    processes: tuple[ReportedProcess, ...]
    last_spans: tuple[LastSpan, ...]


def as_json(situation: Situation, explanation: Explanation) -> str:
    """A `HangReport`."""
    cause = explanation.answers[0].cause
    report = HangReport(
        schema=SCHEMA,
        hang=None if cause == HangCause.UNKNOWN else cause not in NO_HANG,
        answers=tuple(map(ReportedAnswer.of, explanation.answers)),
        chain=tuple(map(ReportedLink.of, explanation.chain)),
        notes=explanation.notes,
        facts=tuple(facts(situation)),
        processes=tuple(ReportedProcess(p.pid, p.role, p.title, p.state) for p in situation.processes),
        last_spans=tuple(situation.spans),
    )
    return json.dumps(asdict(report), indent=2)
