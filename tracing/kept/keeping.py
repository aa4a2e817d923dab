"""Keeps what lay around a trigger, as a trace folder: before and after it, of all processes, within bounds."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from probes.errors import EnginescopeError, terminable
from tracing.attach.engine import StandingEngine
from tracing.attach.moved import Moved
from tracing.attach.recording import traced
from tracing.attach.ring import Ring, new_rings
from tracing.attach.switch import NS_PER_S
from tracing.events.texts import ring_texts
from tracing.kept import hangdump
from tracing.kept.condition import Condition
from tracing.kept.following import FollowingProfile
from tracing.kept.hangdump import HangDump
from tracing.kept.triggers import Firing, Triggers
from tracing.record.contention import RollingSamples

FILE, SCHEMA = "kept.json", 1
DRAFT, OLD_DRAFT_S = ".draft", 600.0
BEFORE_NS, AFTER_NS = 10 * NS_PER_S, 2 * NS_PER_S
PROFILED_NS = 20 * NS_PER_S  # after an event, within which the steps of a profile have to come
PERIOD_S = 0.2
MOST_A_MINUTE, MOST, MOST_BYTES = 6, 50, 2 << 30
WITHOUT_STREAMS = (
    "LLM.generate hands over all outputs at its end, so this fires for AsyncLLM alone; latency fires for both"
)


@dataclass(frozen=True)
class Keep:
    """`kept.json`: why a folder was kept. `time` is seconds since the epoch; `request` is the caller's id of a call,
    vLLM's own of what fired in the core, '' for none; `step` is -1 for none; `more` counts what else fired since the
    last one was written."""

    condition: str
    time: float
    at_ns: int
    value_ns: int
    pid: int
    request: str
    step: int
    more: int


class Keeper:
    """Watches the rings of an engine, and keeps what its triggers ask for in `folder`."""

    def __init__(
        self,
        engine: StandingEngine,
        conditions: Sequence[Condition],
        folder: Path,
        after: Callable[[Path, Keep], None] = lambda path, keep: None,
        profile: FollowingProfile | None = None,
    ) -> None:
        self.engine, self.folder = engine, folder
        self.after = after  # what is done with a folder that was kept
        self.profile = profile
        self.triggers = Triggers(conditions)
        self.rings: dict[int, Ring] = {}
        self.samples = RollingSamples(engine.folder)
        self.firing: Firing | None = None
        self.hang: HangDump | None = None  # where it is one that fired
        self.more = 0
        self.profiled = 0  # what fired beside a profile
        self.is_warned = False
        self.written: deque[float] = deque(maxlen=MOST_A_MINUTE)

    def watch(self, until_ns: int) -> None:
        """Watch until a moment of CLOCK_MONOTONIC, until Ctrl-C, or until the engine has ended; what fired last is kept
        then, though its time is not over."""
        _remove_drafts(self.folder)
        with contextlib.suppress(KeyboardInterrupt), terminable(), self.samples.running():
            while time.monotonic_ns() < until_ns and self.engine.lives():
                self.look()
                time.sleep(PERIOD_S)
        if self.firing and self.engine.folder.exists():
            self._keep(self.firing)
        for line in self._left_out():
            print(line, file=sys.stderr)

    def _left_out(self) -> Iterator[str]:
        """Why nothing is kept any more, what was not kept, and what was not even seen; a line each."""
        if not self.engine.lives():
            yield "the engine has ended: if it was started anew, watch that one"
        if self.more:
            yield f"{self.more} more fired and were not kept: at most {MOST_A_MINUTE} a minute are kept"
        if self.profiled:
            yield f"{self.profiled} more fired while the profiler ran, which holds an engine up: not kept"
        if lost := sum(ring.lost for ring in self.rings.values()):
            yield f"{lost} records were overwritten before they were looked at: what they met is not known"

    def look(self) -> Path | None:
        """Read what is new; the folder that was kept, where a trigger's time is over."""
        for ring in new_rings(self.engine.folder, self.rings):
            ring.skip()
            self.rings[ring.pid] = ring
        for ring in self.rings.values():
            missing = ring.lost + ring.dropped()
            records = ring.take()
            if ring.lost + ring.dropped() > missing:
                self.triggers.forget(ring.pid)
            for firing in self.triggers.look(ring.pid, records):
                self._fire(firing)
                if self.profile and self.firing is firing:
                    self.profile.start()
        self._warn()
        if self.firing is None:
            for firing in self.triggers.stuck(time.monotonic_ns()):
                self._fire(firing)
                self._dump(firing)
        if self.firing and self._is_over(time.monotonic_ns() - self.firing.at_ns):
            folder = self._keep(self.firing)
            self.firing = None  # now: who is interrupted meanwhile keeps it anew, in the same folder
            return folder
        return None

    def _is_over(self, since_ns: int) -> bool:
        """Whether all that follows an event is there, or will not come."""
        profiled = self.profile is None or self.profile.is_over() or since_ns > PROFILED_NS
        return since_ns > AFTER_NS and profiled

    def _warn(self) -> None:
        """Say once which conditions are about streams, where there are none."""
        if not self.is_warned and (unmet := self.triggers.unmet()):
            self.is_warned = True
            print(f"{', '.join(unmet)}: {WITHOUT_STREAMS}", file=sys.stderr, flush=True)

    def _fire(self, firing: Firing) -> None:
        now = time.monotonic()
        if self.profile and self.profile.ran_since(firing.at_ns - firing.value_ns):
            self.profiled += 1
        elif self.firing is None and (len(self.written) < MOST_A_MINUTE or now - self.written[0] > 60):
            self.firing = firing
            self.written.append(now)
        else:
            self.more += 1

    def _dump(self, firing: Firing) -> None:
        """The dump of a hang that has just fired; what turns out to be none is not kept."""
        if self.firing is not firing:
            return
        self.hang = hangdump.take(firing.pid)
        if not self.hang.is_hang:
            print(f"{firing.condition}: {self.hang.answer}; not kept", file=sys.stderr, flush=True)
            self.firing = self.hang = None

    def _keep(self, firing: Firing) -> Path | None:
        """Keep it, and remove the oldest folders where there are too many; None where that fails: the watch goes on."""
        when = time.time() - (time.monotonic_ns() - firing.at_ns) / NS_PER_S
        path = self.folder / f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(when))}-{firing.at_ns % NS_PER_S:09d}"
        if path.exists():  # whoever interrupted it came too late
            return path
        draft = path.with_name(path.name + DRAFT)
        try:
            keep = self._write(firing, when, draft)
            draft.rename(path)
        except (OSError, EnginescopeError) as error:  # the disk is full
            shutil.rmtree(draft, ignore_errors=True)
            print(f"{firing.condition}: not kept: {error}", file=sys.stderr, flush=True)
            return None
        finally:
            self.hang = None
        print(f"{time.strftime('%H:%M:%S')}  {firing.condition}: kept {path}", file=sys.stderr, flush=True)
        self.after(path, keep)
        bound(self.folder, MOST, MOST_BYTES)
        return path

    def _write(self, firing: Firing, when: float, draft: Path) -> Keep:
        """Write all of it into a folder that is not counted as kept yet."""
        draft.mkdir(parents=True, exist_ok=True)
        with traced(self.engine, draft) as problems:
            problems += self.profile.collect(draft) if self.profile else []
            problems += Moved(self.engine.folder, draft, firing.at_ns - firing.value_ns - BEFORE_NS).close()
            self.samples.write(draft)
        where = (firing.at_ns, firing.value_ns, firing.pid, self._name(firing), firing.step)
        keep, self.more = Keep(firing.condition, when, *where, self.more), 0
        (draft / FILE).write_text(json.dumps({"schema": SCHEMA} | asdict(keep)))
        if self.hang:
            self.hang.write(draft)
        return keep

    def _name(self, firing: Firing) -> str:
        if not firing.request:
            return ""
        ring = self.rings[firing.pid]
        return ring_texts(ring.path.with_suffix(".texts"), ring.slots).get(firing.request, "")


def _remove_drafts(folder: Path) -> None:
    """What a watch left that was killed while it wrote; that of one which writes now stays."""
    for path in folder.glob(f"*{DRAFT}"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - OLD_DRAFT_S:
                shutil.rmtree(path)


def following(folder: Path) -> str:
    """The command that lists what was kept; a folder that was made for nothing goes."""
    if kept(folder):
        return f"next: python -m tracing.kept {shlex.quote(str(folder))}"
    with contextlib.suppress(OSError):
        folder.rmdir()
    return "nothing was kept: no condition was met"


def kept(folder: Path) -> list[tuple[Path, Keep]]:
    """The folders that were kept, the oldest first; EnginescopeError for one of another schema."""
    keeps = []
    for path in sorted(folder.glob(f"*/{FILE}")):
        if path.parent.name.endswith(DRAFT):
            continue
        values = json.loads(path.read_text())
        if values.pop("schema", None) != SCHEMA:
            raise EnginescopeError(f"{path} is of another schema than {SCHEMA}: it was kept by another version")
        keeps.append((path.parent, Keep(**values)))
    return sorted(keeps, key=lambda keep: keep[1].time)


def bound(folder: Path, most: int, most_bytes: int) -> None:
    """Remove the oldest kept folders, until there are few and small enough."""
    paths = [path for path, _ in kept(folder)]
    sizes = {path: sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) for path in paths}
    while paths and (len(paths) > most or sum(sizes[path] for path in paths) > most_bytes):
        shutil.rmtree(paths.pop(0))
