"""An explanation as text, and as a page with the stacks folded by stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from markupsafe import Markup

from probes.htmlpage import PageSection, page, table
from tracing.hang.doing import doing
from tracing.hang.dump import ThreadStack
from tracing.hang.explanation import Explanation, HangAnswer
from tracing.hang.situation import IN_KERNEL, RUNNING, STOPPED, TRACED, ZOMBIE, LastSpan, MemberProcess, Situation
from tracing.pyspy import waitingframes
from tracing.pyspy.attribution import site_of, stage_of

STATES = {
    RUNNING: "runs",
    "S": "sleeps",
    IN_KERNEL: "in the kernel",
    STOPPED: "stopped",
    TRACED: "traced",
    ZOMBIE: "ended",
}


def first_line(explanation: Explanation) -> str:
    """The answer in a line: its kind, whose it is, and the frame that shows it."""
    return _line(explanation.answers[0])


def _line(answer: HangAnswer) -> str:
    return f"{answer.cause}: {answer.process} {answer.text}" + (f", at {answer.frame}" if answer.frame else "")


def lines(situation: Situation, explanation: Explanation) -> Iterator[str]:
    """The whole text, the answer first."""
    answers = explanation.answers
    yield first_line(explanation)
    for answer in answers[1:]:
        yield f"or {_line(answer)}"
    yield from _apart(answers)
    if explanation.chain:
        yield ""
        yield "who waits for whom"
        for link in explanation.chain:
            yield f"  {link.waiter} waits for {link.awaited}: {link.what}" + (
                f", at {link.frame}" if link.frame else ""
            )
    rest = [*explanation.notes, *facts(situation)]
    if rest:
        yield ""
        yield from rest


def _apart(answers: Sequence[HangAnswer]) -> Iterator[str]:
    if apart := dict.fromkeys(answer.apart for answer in answers if answer.apart):
        yield f"what would tell {'them apart' if answers[1:] else 'more'}: {'; '.join(apart)}"


def facts(situation: Situation) -> Iterator[str]:
    """What was seen beside the stacks."""
    counters = situation.counters
    if counters and counters.running is not None:
        moved = ", ".join(counters.moved) or "nothing moved"
        over = f" in {counters.seconds:.1f} s" if counters.seconds else ""
        waiting = "not known how many" if counters.waiting is None else f"{counters.waiting:g}"
        yield f"counters{over}: {counters.running:g} running, {waiting} waiting; {moved}"
    if situation.answers is False:
        yield "its /metrics did not answer"
    for index, share in situation.devices.items():
        yield f"device {index}: {share:.0f} % busy"
    if situation.standby:
        yield "its recorder is in standby: what it has recorded, if anything, may be older than this"
    if situation.requests:
        yield f"in the last recorded step: {', '.join(situation.requests[:8])}" + (
            " …" if situation.requests[8:] else ""
        )
    for process in situation.processes:
        if own := [span for span in situation.spans if span.pid == process.pid]:
            last = min(own, key=lambda span: span.age_s)
            step = f" of step {last.step}" if last.step >= 0 else ""
            yield f"{process.label}: last recorded {last.site}{step}, {last.age_s:.1f} s ago"
    for notice in situation.notices:
        yield f"{notice.title or 'a log'} says: {notice.text}"


# --- the page ---


def html(situation: Situation, explanation: Explanation) -> str:
    """The page: the answer, the chain, what else was seen, and every process's stacks."""
    chain = [[link.waiter, link.awaited, link.what, str(link.frame or "")] for link in explanation.chain]
    spans = [
        [span.role, span.pid, span.thread, span.site, span.step if span.step >= 0 else "", f"{span.age_s:.1f}"]
        for span in _last_of_threads(situation)
    ]
    sections = [
        PageSection("Who waits for whom", "", table(["who", "waits for", "what", "frame"], chain, text=(0, 1, 2, 3))),
        *(
            [
                PageSection(
                    "Last spans",
                    "What each thread has ended last, by the recorder.",
                    table(["role", "process", "thread", "site", "step", "s ago"], spans, text=(0, 3)),
                )
            ]
            if spans
            else []
        ),
        *(_section(process) for process in situation.processes if process.after),
    ]
    others = [f"or {_line(answer)}" for answer in explanation.answers[1:]]
    about = "; ".join([*others, *_apart(explanation.answers), *explanation.notes, *facts(situation)])
    return page(first_line(explanation), sections, about=about)


def _last_of_threads(situation: Situation) -> list[LastSpan]:
    """The last span of each thread, in the order of the processes."""
    newest = sorted(situation.spans, key=lambda span: span.age_s)
    last = {(span.pid, span.thread): span for span in reversed(newest)}
    return [span for process in situation.processes for span in last.values() if span.pid == process.pid]


def _section(process: MemberProcess) -> PageSection:
    """A process's threads, those that do something first, each folded under its stage."""
    dump = process.after
    threads = sorted(dump.threads, key=lambda thread: thread != dump.main) if dump else []
    return PageSection(process.label, _state(process), Markup("\n").join(_folded(process, each) for each in threads))


def _state(process: MemberProcess) -> str:
    """What /proc says, in words."""
    state = process.state
    if state is None:
        return ""
    used = "" if state.cpu_s is None else f"; {state.cpu_s:.2f} s of CPU between the looks"
    return STATES.get(state.letter, state.letter) + (f" ({state.waits_in})" if state.waits_in else "") + used


def _folded(process: MemberProcess, thread: ThreadStack) -> Markup:
    stack = thread.python
    site = site_of(stack, process.role)
    now = doing(process.role, process.earlier(thread), thread).text
    state = waitingframes.state(stack) if stack else ""
    now += f" ({state})" if state and state not in now else ""
    heading = f"{thread.name or thread.number}: {stage_of(site, process.role) if site else 'no stage'}; {now}"
    shown = "\n".join(escape(str(frame)) for frame in reversed(stack or thread.stack))
    return Markup("<details><summary>{}</summary><pre>{}</pre></details>").format(heading, Markup(shown))
