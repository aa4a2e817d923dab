"""Pasted texts: what is read of py-spy's and faulthandler's, of several processes, and what is refused by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes.errors import EnginescopeError
from tracing.hang.dump import ProcessDump, ThreadStack, common
from tracing.hang.texts import dumptext
from tracing.hang.texts.enginelog import LoggedProgress, Notice
from tracing.pyspy.events import Frame

PYSPY = """Process 12: VLLM::EngineCore
Python v3.12.3 (/usr/bin/python3.12)

Thread 12 (idle): "MainThread"
    wait (threading.py:359)
    get (queue.py:171)
    _process_input_queue (vllm/v1/engine/core.py:900)
Thread 30 (active+gil): "Thread-2 (process_output_sockets)"
    send (zmq/sugar/socket.py:701)
"""


def short(name: str, file: str, line: int) -> Frame:
    """A frame whose file was named without its folder: no source of this machine is taken for it."""
    return Frame(name, dumptext.ELSEWHERE + file, line)


CORE = short("_process_input_queue", "vllm/v1/engine/core.py", 900)
STACK = (CORE, short("get", "queue.py", 171), short("wait", "threading.py", 359))


def only(text: str) -> ProcessDump:
    [dump] = dumptext.read_text(text, "a.txt").dumps
    return dump


def test_a_dump_of_py_spy() -> None:
    assert only(PYSPY) == ProcessDump(
        12,
        "VLLM::EngineCore",
        (
            ThreadStack(12, "MainThread", False, STACK),
            ThreadStack(30, "Thread-2 (process_output_sockets)", True, (short("send", "zmq/sugar/socket.py", 701),)),
        ),
        "a.txt",
    )


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(f"> {line}" for line in PYSPY.splitlines()),
        "\n".join(f"    {line}" for line in PYSPY.splitlines()),
        f"```\n{PYSPY}```\n",
        PYSPY.replace("\n", "\r\n"),
        "".join(f"vllm-1  | {line}\n" for line in PYSPY.splitlines()),
    ],
)
def test_a_quoted_one_is_the_same(text: str) -> None:
    assert only(text) == only(PYSPY)


def test_older_versions_name_a_thread_by_its_handle_or_not_at_all() -> None:
    dump = only(
        'Process 7: python serve.py\nThread 0x7F2A (active)\n    step (a.py:1)\nThread 9 (idle): "x"\n    g (b.py:2)\n'
    )
    assert [(thread.number, thread.name, thread.active) for thread in dump.threads] == [
        (0x7F2A, "", True),
        (9, "x", False),
    ]


def test_local_variables_are_no_frames() -> None:
    text = """Process 7: python
Thread 7 (idle): "MainThread"
    step (a.py:5)
        Arguments:
            self: <Engine at 0x7f>
            path: "b (c.py:1)"
        Locals:
            n: 3
    main (a.py:9)
"""
    assert [frame.name for frame in only(text).threads[0].stack] == ["main", "step"]


def test_frames_of_c_are_told_from_those_of_python() -> None:
    text = """Process 7: VLLM::EngineCore
Thread 7 (active): "MainThread"
    cuEventSynchronize (libcuda.so.535)
    THPEvent_synchronize (libtorch_python.so)
    _to_list (vllm/v1/worker/gpu_model_runner.py:5000)
    0x7f2b (python3.12)
"""
    thread = only(text).main
    assert [frame.name for frame in thread.python] == ["_to_list"]
    assert [frame.name for frame in thread.native] == ["THPEvent_synchronize", "cuEventSynchronize"]


FAULTHANDLER = """Timeout (0:00:30)!
Thread 0x00007f10 (most recent call first):
  File "/usr/lib/python3.12/threading.py", line 359 in wait
  File "/usr/lib/python3.12/queue.py", line 171 in get

Thread 0x00007f20 [MainThread] (most recent call first):
  File "/src/vllm/vllm/v1/engine/core.py", line 900 in _process_input_queue
"""


def test_faulthandler_dumps_on_a_time_out() -> None:
    dump = only(FAULTHANDLER)
    assert [(thread.number, thread.name, thread.active) for thread in dump.threads] == [
        (0x7F10, "", None),
        (0x7F20, "MainThread", None),
    ]
    assert dump.main.stack == (CORE,) and str(CORE) == "_process_input_queue (vllm/v1/engine/core.py:900)"


def test_the_last_thread_of_faulthandler_is_the_main_one() -> None:
    dump = only(FAULTHANDLER.replace(" [MainThread]", ""))
    assert dump.main.number == 0x7F20


def test_a_traceback_without_a_heading_is_one_thread() -> None:
    text = '  File "/x/site-packages/torch/distributed/distributed_c10d.py", line 2050 in all_reduce\n'
    assert [frame.file for frame in only(text).main.stack] == ["torch/distributed/distributed_c10d.py"]


def test_several_processes_in_one_text() -> None:
    both = PYSPY + PYSPY.replace("12", "13").replace("EngineCore", "Worker_TP0") + FAULTHANDLER
    dumps = dumptext.read_text(both, "all.txt").dumps
    assert [(dump.pid, dump.title) for dump in dumps] == [(12, "VLLM::EngineCore"), (13, "VLLM::Worker_TP0"), (0, "")]


def test_a_log_says_whose_lines_they_are() -> None:
    text = "".join(f"(EngineCore pid=9) (Worker_TP1 pid=11) {line}\n" for line in FAULTHANDLER.splitlines())
    dump = only(text)
    assert (dump.pid, dump.title, len(dump.threads)) == (11, "Worker_TP1", 2)


def test_a_key_in_a_command_line_is_not_kept() -> None:
    assert "abc123" not in only(PYSPY.replace("VLLM::EngineCore", "vllm serve m --api-key abc123")).title


def test_lines_about_waiting_and_progress() -> None:
    what = "No available shared memory broadcast block found in 60 seconds"
    stats = (
        "Engine 000: Avg prompt throughput: 0.0 tokens/s, Avg generation throughput: {} tokens/s, Running: 1 reqs, {}"
    )
    lines = [
        f"(EngineCore pid=9) INFO 11-25 [shm_broadcast.py:801] {what}. This typically",
        f"(EngineCore pid=9) INFO 11-25 [shm_broadcast.py:801] {what}. This typically",
        f"(APIServer pid=8) INFO {stats.format(5.5, 'Waiting: 14 reqs, GPU')}",
        f"(APIServer pid=8) INFO {stats.format(0.0, 'Waiting: 15 reqs, GPU')}",
    ]
    reading = dumptext.read_text("\n".join(lines), "log")
    assert reading.notices == (Notice("queue", 9, "EngineCore", what),)
    assert reading.progress == LoggedProgress(1, 15, (5.5, 0.0))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("#0  0x00007ff5627ea84d in poll () from /lib/libc.so.6\n", "a backtrace of gdb"),
        ("Traceback for thread 12 (python) [] (most recent call last):\n", "a dump of pystack"),
        ('{"$schema": "https://www.speedscope.app/file-format-schema.json"}', "a profile"),
        (
            'Traceback (most recent call last):\n  File "a.py", line 1, in f\nValueError\n',
            "the traceback of an exception",
        ),
        ("hello\n", "holds no dump"),
        ("", "holds no dump"),
    ],
)
def test_what_is_no_dump_is_refused_by_its_name(text: str, kind: str) -> None:
    with pytest.raises(EnginescopeError, match=kind) as error:
        dumptext.read_text(text, "paste.txt")
    assert "paste.txt" in str(error.value)


def test_files_are_read_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "b").write_text(PYSPY)
    (tmp_path / "a").write_text(FAULTHANDLER)
    reading = dumptext.read_files([tmp_path / "b", tmp_path / "a"])
    assert [dump.source for dump in reading.dumps] == [str(tmp_path / name) for name in "ba"]


def test_a_file_that_holds_no_dump_is_named_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "README.md").write_text("hello")
    with pytest.raises(EnginescopeError, match=r"^notes/README\.md holds no dump"):
        dumptext.read_files([Path("notes/README.md")])


def test_a_forked_process_has_its_own_frames_alone() -> None:
    text = """Process 7: VLLM::Worker_TP0
Thread 7 (idle): "MainThread"
    worker_main (vllm/v1/executor/multiproc_executor.py:944)
    _launch (multiprocessing/popen_fork.py:71)
    run_engine_core (vllm/v1/engine/core.py:1482)
"""
    assert [frame.name for frame in only(text).main.python] == ["worker_main"]


def test_what_two_stacks_share() -> None:
    main, loop = Frame("main", "a.py", 1), Frame("loop", "a.py", 5)
    later = Frame("loop", "a.py", 6)
    assert common((main, loop, Frame("read", "b.py", 1)), (main, later)) == (main, later)
    assert common((main, loop), (Frame("main", "a.py", 2), loop)) == (Frame("main", "a.py", 2),)
    assert common((main,), (loop,)) == ()
