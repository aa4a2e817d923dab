"""A disk that is full in the middle of a run: one clear line, nothing lost, and the run goes on once there is room.

The disk is a small file system in memory, which the command alone sees.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from offline.load.folder import read_load_run, read_rates, read_start, start_folders
from tests.needs import needs_vllm
from tests.offline.load.loading import ROOT, only_run, processes_of, small

pytestmark = [needs_vllm, pytest.mark.slow(20)]  # the default model's tokenizer comes with its set
ALONE = ("unshare", "--map-root-user", "--mount")
SCRIPT = """
disk=$1 kept=$2; shift 2
mount -t tmpfs -o size=16m none "$disk" || exit 9
"$@" & command=$!
until [ -s "$disk"/*/load/*/starts/fast-1/rates.jsonl ]; do sleep 0.02; done
cat /dev/zero > "$disk/others"
wait $command; echo "ended with $?"
rm "$disk/others"
"${@:1:5}" --resume; echo "continued with $?"
cp -r "$disk/." "$kept"
"""
VARIANTS = '[fast]\nkind = "torch"\n[slow]\nkind = "torch"\nsettings = {token_s = 0.002}\n'


def may_mount() -> bool:
    return shutil.which(ALONE[0]) is not None and subprocess.run((*ALONE, "true"), check=False).returncode == 0


def test_a_full_disk_is_one_clear_line_and_the_run_is_continued_where_there_is_room(tmp_path: Path) -> None:
    if not may_mount():
        pytest.skip("needs a file system of its own")
    (file := tmp_path / "variants.toml").write_text(VARIANTS)
    (disk := tmp_path / "disk").mkdir()
    (kept := tmp_path / "kept").mkdir()
    command = (sys.executable, "-m", "tests.offline.load.fake_load", "--out", str(disk))
    words = (*command, *small("--rates", "20,40", "--variants-file", str(file)))
    ended = subprocess.run(
        (*ALONE, "bash", "-c", SCRIPT, "bash", str(disk), str(kept), *words),
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False,
    )  # fmt: skip
    before, _, after = ended.stdout.partition("ended with 1\n")
    assert "failed: fast, start 1: OSError: [Errno 28] No space left on device" in before
    assert "error: cannot write " in before and "free some room, then continue with --resume" in before
    assert "continued with 0" in after and "Traceback" not in ended.stdout
    folder = only_run(kept)
    assert read_load_run(folder).state == "complete"
    assert read_start(folder / "starts" / "fast-1").state == "interrupted"
    levels = Counter((rate.variant, rate.rate_req_s) for path in start_folders(folder) for rate in read_rates(path))
    assert levels == {(name, rate): 1 for name in ("fast", "slow") for rate in (None, 20.0, 40.0)}
    assert processes_of(tmp_path) == []
