"""vLLM's own profiler over some steps of a server, on the recorder's clock."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from probes.errors import EnginescopeError
from probes.metrics.endpoint import endpoint
from tests.shells import until
from tests.tracing.attach.standingprocess import counting, folder_of
from tracing.attach import __main__ as attach
from tracing.attach.engine import StandingEngine
from tracing.attach.liveprofile import LiveProfile, ProfilerConfig, live_profile, profiler_config
from tracing.attach.recording import record
from tracing.events.standing import read
from tracing.kept.condition import parse
from tracing.kept.following import FollowingProfile
from tracing.kept.keeping import Keeper
from tracing.kept.triggers import Firing

JSON = '{"profiler": "torch", "torch_profiler_dir": "/t"}'


@pytest.mark.parametrize(
    ("words", "config"),
    [
        (["--profiler-config", JSON], ProfilerConfig("torch", "/t")),
        ([f"--profiler-config={JSON}"], ProfilerConfig("torch", "/t")),
        (
            ["--profiler-config.profiler=torch", "--profiler-config.torch_profiler_dir", "/t"],
            ProfilerConfig("torch", "/t"),
        ),
        (["--profiler_config.profiler", "cuda"], ProfilerConfig("cuda", "")),
        (["--profiler-config", "{"], ProfilerConfig("", "")),
        (["serve", "--port", "8000"], ProfilerConfig("", "")),
    ],
)
def test_what_a_command_line_says_of_the_profiler(words: list[str], config: ProfilerConfig) -> None:
    assert profiler_config(["vllm", *words]) == config


class Server:
    """Stands in for vLLM's: what it was asked, and after some time a trace in its folder."""

    def __init__(self, port: int, folder: Path) -> None:
        self.at, self.folder = endpoint(f"http://127.0.0.1:{port}"), folder
        self.asked: list[tuple[str, dict[str, object]]] = []
        self.status = 200

    def take(self, path: str, body: dict[str, object]) -> None:
        self.asked.append((path, body))
        if path == "/start_profile":
            file = self.folder / f"{body['profile_prefix']}_rank0.pt.trace.json"
            threading.Timer(0.3, file.write_text, ['{"traceEvents": []}']).start()


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            server.take(self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(server.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = Server(http.server_address[1], folder)
        threading.Thread(target=http.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            http.shutdown()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "profiles"
    folder.mkdir()
    with serving(folder) as started:
        yield started


@pytest.mark.parametrize("standby", [True, False])
def test_the_recording_lasts_until_the_profile_is_there(server: Server, tmp_path: Path, standby: bool) -> None:
    source, out = folder_of(tmp_path, standby), tmp_path / "trace"
    out.mkdir()
    standing = read(source)
    assert standing is not None
    (server.folder / "of-before.pt.trace.json").touch()
    with counting(source, pause_s=0.01):
        begun = time.monotonic()
        profile = LiveProfile(server.at, "torch", 20, server.folder, "enginescope-1")
        assert record(StandingEngine(source, standing), out, 60, True, profile) == 0
        assert time.monotonic() - begun < 50
    assert server.asked == [
        ("/start_profile", {"profile_prefix": "enginescope-1", "max_iterations": 20}),
        ("/stop_profile", {}),
    ]
    assert [path.name for path in (out / "torch").iterdir()] == ["enginescope-1_rank0.pt.trace.json"]


def test_a_trigger_starts_it_and_what_is_kept_has_its_traces(server: Server, tmp_path: Path) -> None:
    source, out = folder_of(tmp_path, standby=False), tmp_path / "kept"
    standing = read(source)
    assert standing is not None
    profile = FollowingProfile(LiveProfile(server.at, "torch", 20, server.folder, "enginescope-1"))
    with counting(source, pause_s=0.01):
        keeper = Keeper(StandingEngine(source, standing), [parse("error")], out, profile=profile)
        keeper.look()
        firing = Firing("error", time.monotonic_ns(), 0, next(iter(keeper.rings)), 0)
        once = iter([[firing]])
        keeper.triggers.look = lambda pid, records: next(once, [])  # type: ignore[method-assign]
        folder = until(keeper.look)
    [(start, body), stop] = server.asked
    assert (start, body["max_iterations"], stop) == ("/start_profile", 20, ("/stop_profile", {}))
    [trace] = (folder / "torch").iterdir()
    assert trace.name == f"{body['profile_prefix']}_rank0.pt.trace.json" and "enginescope-1_" not in trace.name


def test_what_ran_beside_a_profile_is_counted_and_not_kept(server: Server, tmp_path: Path) -> None:
    source = folder_of(tmp_path, standby=False)
    standing = read(source)
    assert standing is not None
    profile = FollowingProfile(LiveProfile(server.at, "torch", 20, server.folder, "enginescope-1"))
    keeper = Keeper(StandingEngine(source, standing), [parse("step > 1s")], tmp_path / "kept", profile=profile)
    fired: list[Firing] = []
    keeper.triggers.look = lambda pid, records: [fired.pop()] if fired else []  # type: ignore[method-assign]
    with counting(source, pause_s=0.01):
        begun_ns = time.monotonic_ns()
        profile.start()
        until(profile.is_over)
        profile.collect(tmp_path)
        end_ns = time.monotonic_ns()
        until(lambda: keeper.look() is None and keeper.rings)
        fired.append(Firing("step > 1s", end_ns, end_ns - begun_ns, next(iter(keeper.rings))))
        until(lambda: keeper.look() is None and keeper.profiled == 1)
        assert keeper.firing is None
        fired.append(Firing("step > 1s", end_ns, 0, next(iter(keeper.rings))))
        until(lambda: keeper.look() is None and keeper.firing)
    assert keeper.profiled == 1


def test_a_profiler_that_is_refused_ends_no_watch(server: Server, tmp_path: Path, capsys) -> None:
    server.status = 404
    profile = FollowingProfile(LiveProfile(server.at, "torch", 20, server.folder, "enginescope-1"))
    profile.start()
    assert profile.is_over() and profile.collect(tmp_path) == []
    assert "no profile: " in capsys.readouterr().err


def test_a_server_that_has_no_profiler(server: Server) -> None:
    server.status = 404
    profile = LiveProfile(server.at, "torch", 20, server.folder, "enginescope-1")
    with pytest.raises(EnginescopeError, match="answers 404: the server has to be started"), profile.running():
        pass


def test_one_that_was_not_started_for_it_is_refused_by_name() -> None:
    """This process was not."""
    for profiler in ("torch", "nsys"):
        with pytest.raises(EnginescopeError, match=f"was not started for --{profiler}"):
            live_profile(endpoint("http://127.0.0.1:1"), os.getpid(), profiler, 20)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["4711", "--torch", "20"], "ask the server"),
        (["http://127.0.0.1:8000", "--torch", "0"], "of at least 1"),
        (["4711", "--otlp", "http://127.0.0.1:4318", "--dump"], "combined with --keep only"),
        (["http://127.0.0.1:8000", "--dump", "--torch", "20"], "of steps that come"),
        (["4711", "--sample", "1%"], "name the collector"),
        (["4711", "--seconds", "0"], "not between 0 and a day"),
    ],
)
def test_what_means_nothing_is_refused(words: list[str], line: str) -> None:
    with pytest.raises(EnginescopeError, match=line) as error:
        attach.check(attach.parser().parse_args(words))
    assert error.value.code == 2
