"""Takes the situation of a running engine: everything twice, some seconds apart, and the suspect once more, closely."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from probes.devices.reading import read_devices
from probes.devices.sampling import DeviceSampler
from probes.errors import EnginescopeError
from probes.metrics.endpoint import Endpoint, endpoint
from probes.metrics.exposition import Snapshot, Window
from probes.processes.enginegroup import (
    HELPER,
    Member,
    group_of,
    groups,
    holds_engine,
    launch_options,
    listener,
    no_vllm,
)
from tracing.hang.chain import explain
from tracing.hang.doing import HangCause
from tracing.hang.dump import ProcessDump
from tracing.hang.explanation import Explanation
from tracing.hang.frames import CORE
from tracing.hang.live import counting, procfs, stacks
from tracing.hang.live.lastspans import Recorded, folder_of, recorded
from tracing.hang.situation import (
    IN_KERNEL,
    STOPPED,
    TRACED,
    ZOMBIE,
    Counters,
    MemberProcess,
    ProcessState,
    Situation,
    in_order,
)

STANDING = (STOPPED, TRACED, IN_KERNEL)  # py-spy could not stop these any more, and need not
UNCLEAR = (HangCause.PYTHON, HangCause.LOCK, HangCause.UNKNOWN)  # what a look at C's functions may tell more about


@dataclass(frozen=True)
class Look:
    """One look at everything."""

    at_s: float
    states: dict[int, ProcessState]
    dumps: dict[int, ProcessDump]
    counters: Snapshot | None
    recorded: Recorded
    unread: dict[str, int]
    problems: dict[int, str]  # by process


def group_at(target: str) -> tuple[list[Member], Endpoint | None]:
    """The engine behind a process id or an address of this machine, and where it counts, as far as that is known."""
    if target.isdigit():
        group = group_of(int(target))
        if not holds_engine(group):
            raise no_vllm(target)
        port = launch_options(group).port
        return group, endpoint(f"127.0.0.1:{port}") if port else None
    at = endpoint(target)
    if not at.is_local:
        raise EnginescopeError(f"{at.host} is another machine: run this there, or give it dumps of its processes")
    pid = listener(at.port)
    return group_of(pid) if pid else _started_with(at.port), at


def _started_with(port: int) -> list[Member]:
    """The engine whose command line names a port: who listens there takes the right to trace to see."""
    for group in groups():
        if launch_options(group).port == port:
            return group
    raise EnginescopeError(f"no process visible to you listens on port {port}; name a process id of the engine")


def explained(group: Sequence[Member], at: Endpoint | None, seconds: float) -> tuple[Situation, Explanation]:
    """The situation by two looks, `seconds` apart, and a closer one where those tell little; and its explanation."""
    looks = situation(group, at, seconds)
    nearer = closer(looks, explain(looks))
    return nearer, explain(nearer)


def situation(group: Sequence[Member], at: Endpoint | None, seconds: float) -> Situation:
    """Two looks at an engine, `seconds` apart."""
    members = [member for member in group if member.role != HELPER]
    folder = folder_of([member.pid for member in members])
    first = _look(members, at, folder)
    busy = _wait(first.at_s + seconds, {member.pid for member in members})
    second = _look(members, at, folder)
    processes = [_process(member, first, second) for member in members]
    return Situation(
        tuple(in_order(processes)),
        _counters(processes, first, second),
        second.counters is not None if at else None,
        busy,
        second.recorded.spans,
        procfs.still_unread(first.unread, second.unread),
        requests=second.recorded.requests,
        standby=second.recorded.standby,
        problems=_in_one_line(first.problems | second.problems),
        between_s=second.at_s - first.at_s,
    )


def _look(members: Sequence[Member], at: Endpoint | None, folder: str) -> Look:
    states, dumps, problems = {}, {}, {}
    began_s = time.monotonic()
    for member in members:
        if state := procfs.state_of(member.pid):
            states[member.pid] = state
            if state.letter == ZOMBIE:
                continue
            try:
                dumps[member.pid] = stacks.dumped(member.pid, member.name, state.letter in STANDING)
            except EnginescopeError as error:
                problems[member.pid] = str(error)
    counters = counting.snapshot(at) if at else None
    unread = procfs.unread_answers(members[0].pid, at.port) if at else {}
    return Look(began_s, states, dumps, counters, recorded(folder), unread, problems)


def _in_one_line(problems: Mapping[int, str]) -> tuple[str, ...]:
    """What several processes have in common is said once."""
    pids: dict[str, list[str]] = {}
    for pid, text in problems.items():
        pids.setdefault(text.replace(f"process {pid}", "process PID"), []).append(str(pid))
    return tuple(text.replace("PID", ", ".join(each)) for text, each in pids.items())


def _wait(until_s: float, pids: Set[int]) -> dict[int, float]:
    """Sleep, with an eye on the devices: how busy each of the engine's was, in percent; all where none names it."""
    devices = read_devices().devices
    own = {each.index for each in devices if pids & each.holders.keys()} or {each.index for each in devices}
    with DeviceSampler() if devices else contextlib.nullcontext() as sampler:
        time.sleep(max(0.0, until_s - time.monotonic()))
        sampled = sampler.take() if sampler else []
    shares = {each.index: each.activity.utilization_percent for each in sampled if each.index in own}
    return {index: share for index, share in shares.items() if share is not None}


def _process(member: Member, first: Look, second: Look) -> MemberProcess:
    before, after = first.states.get(member.pid), second.states.get(member.pid)
    if after and before and after.cpu_s is not None and before.cpu_s is not None:
        after = replace(after, cpu_s=after.cpu_s - before.cpu_s)
    dumps = (second.dumps.get(member.pid), first.dumps.get(member.pid))
    return MemberProcess(member.pid, member.role, member.name, *dumps, after)


def _counters(processes: Sequence[MemberProcess], first: Look, second: Look) -> Counters | None:
    """What moved, by /metrics and by the recorder, of all engines and of each where several are counted."""
    if not first.counters or not second.counters:
        alone = _with_steps(Counters(second.at_s - first.at_s, None, None, ()), processes, first, second)
        return alone if alone.moved or alone.rounds else None
    counters = counting.counted(Window(first.counters, second.counters))
    cores = [process for process in processes if process.role == CORE]
    own = {number: [core for core in cores if core.engine == number] for number in counters.engines}
    engines = {number: _with_steps(each, own[number], first, second) for number, each in counters.engines.items()}
    return replace(_with_steps(counters, processes, first, second), engines=engines)


def _with_steps(counters: Counters, processes: Sequence[MemberProcess], first: Look, second: Look) -> Counters:
    """With the steps that a recorder has of these processes: those that schedule nothing move nothing."""
    before, after = first.recorded.cores, second.recorded.cores
    looks = [(before[each.pid], after[each.pid]) for each in processes if each.pid in before and each.pid in after]
    steps = sum(max(0, now.begun - then.begun) for then, now in looks)
    if steps and any(now.batch > then.batch for then, now in looks):
        return replace(counters, moved=(*counters.moved, f"{steps:,} recorded steps"))
    return replace(counters, rounds=steps)


def closer(looks: Situation, explanation: Explanation) -> Situation:
    """The situation with the functions of C in the process that the explanation ends at, where Python tells little."""
    answer = explanation.answers[0]
    suspects = [each for each in looks.processes if each.label == answer.process and each.after]
    if answer.cause not in UNCLEAR or not suspects:
        return looks
    try:
        dump = stacks.dumped(suspects[0].pid, suspects[0].title, native=True)
    except EnginescopeError:
        return looks
    nearer = replace(suspects[0], after=dump)
    return replace(looks, processes=tuple(nearer if each == suspects[0] else each for each in looks.processes))
