"""The command line that a run keeps lets no secret through."""

from __future__ import annotations

import pytest

from probes.privacy.commandline import ROOT, command_line


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["x", "--api-key", "abc", "--max-tokens", "64"], "x --api-key '***' --max-tokens 64"),
        (["x", "--api-key", "abc", "def", "--seed", "1"], "x --api-key '***' '***' --seed 1"),
        (["x", "--api-key=abc"], "x '--api-key=***'"),
        (["env", "HF_TOKEN=abc", "x"], "env 'HF_TOKEN=***' x"),
        (["x", "--engine", "hf_token=abc,dtype=float32"], "x --engine 'hf_token=***,dtype=float32'"),
        (["x", "--engine", "seed=1,hf_token=abc"], "x --engine 'seed=1,hf_token=***'"),
        (["x", "--args", '{"api_key": "a,}b", "n": 1}'], """x --args '{"api_key": ***, "n": 1}'"""),
        (["x", "--header", "Authorization: Bearer abc"], "x --header 'Authorization: ***'"),
        (["x", "http://u:pw@localhost/?api_key=abc&n=1"], "x 'http://***@localhost/?api_key=***&n=1'"),
        (["x", "hf_abcdefghijklmnopqrst", "sk-abcdefghijkl"], "x '***' '***'"),
        (["x", "--password", "12345", "--db-secret=1"], "x --password '***' '--db-secret=***'"),
        (["x", "--input-tokens", "128", "256", "--tokenizer", "t"], "x --input-tokens 128 256 --tokenizer t"),
        (["x", "--engine", "max_num_batched_tokens=512"], "x --engine max_num_batched_tokens=512"),
        (["x", "/home/ann/m", "/home/anna/m", "/mnt/home/ann"], "x ~/m /home/anna/m /mnt/home/ann"),
        ([str(ROOT / "offline" / "sweep.py"), "--json"], "python -m offline.sweep --json"),
        ([], ""),
    ],
)
def test_command_line(argv: list[str], line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert command_line(argv) == line
