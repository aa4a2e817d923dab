"""What a session's pages keep out of what they show."""

from __future__ import annotations

from pathlib import Path

from probes.serve.command import Command
from probes.serve.faults.diagnosis import diagnose
from probes.serve.process import NotReady, Startup
from probes.serve.report.record import write_record
from probes.serve.session import Session

SECRET = "hf_abcdefghijklmnop"


def test_no_secret_and_no_home_folder_in_the_log_or_in_what_is_said_of_it(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    secret = f"ValueError: {Path.home()}/models is of another user (token={SECRET})"
    log.write_text(f"{secret}\nKeyError: 'layers.0'\nKeyboardInterrupt: terminated\n")
    ended = diagnose(log.read_text(), NotReady(1, "loads the weights"), 8000, on_gpu=False)
    session = Session(Command(["python", "-m", "server"], "m", []), Startup(), log, diagnosis=ended)
    texts = [path.read_text() for path in write_record(session, tmp_path)]
    assert any(SECRET in line for line in ended.lines)
    for text in texts:
        assert text.count("token=***") >= 2 and "~/models" in text and "it ended with code 1" in text
        assert SECRET not in text and str(Path.home()) not in text.replace(str(tmp_path), "")
        assert "layers.0" in text and "Interrupt: terminated" in text  # no keys, for all their names
