"""What a server's memory and a short load come to, on made-up cards."""

from __future__ import annotations

import pytest

from probes.devices.device import Activity, Device, DeviceReading
from probes.devices.sampling import SampledDevice
from probes.memory.account import Memory
from probes.memory.kvcache import KVCache
from probes.serve.command import ServeOptions
from probes.serve.report.verdict import load_lines, verdict
from probes.serve.shortload import ShortLoad

GIB = 2**30


def card(index: int, engine_gib: float, total_gib: float | None = 80.0) -> Device:
    total = None if total_gib is None else int(total_gib * GIB)
    return Device("nvidia", index, "H100", None, total, engine_bytes=int(engine_gib * GIB))


def said(*cards: Device, kv_tokens: int = 2048, gpu_util: float | None = None, engines: int = 1) -> list[str]:
    max_len = 1024
    kv = [KVCache(str(n), kv_tokens // 16, 16, kv_tokens, 0.0, None, None, None) for n in range(engines)]
    memory = Memory([], "m", None, kv, DeviceReading([*cards]))
    return [*verdict(memory, ServeOptions("m", 8000, len(cards), max_len, gpu_util, {}))]


def test_on_a_cpu_there_is_only_the_kv_cache() -> None:
    assert said() == ["KV cache: room for 2.0 requests of 1,024 tokens at once"]
    [short] = said(kv_tokens=512)
    assert short == "KV cache: room for 0.5 requests of 1,024 tokens at once: one of that length does not fit"


def test_engines_beside_each_other_have_a_line_each() -> None:
    assert [line.partition(": ")[0] for line in said(engines=2)] == ["KV cache of engine 0", "KV cache of engine 1"]


@pytest.mark.parametrize(
    ("engine_gib", "gpu_util", "line"),
    [
        (63.0, None, "GPU 0: the engine holds 63.0 of 80.0 GiB, 78.8 %, and may take 80.0 % (--gpu-util)"),
        (70.0, None, "87.5 %, and may take 80.0 % (--gpu-util): graphs or NCCL's buffers are more than usual"),
        (39.0, 0.5, "48.8 %, and may take 50.0 % (--gpu-util): a larger --gpu-util would be more KV cache"),
    ],
)
def test_a_cards_share_against_what_is_allowed(engine_gib: float, gpu_util: float | None, line: str) -> None:
    assert line in said(card(0, engine_gib), gpu_util=gpu_util)[1]


def test_a_card_whose_driver_does_not_tell_its_size() -> None:
    assert said(card(0, 3.0, None))[1] == "GPU 0: the engine holds 3.0 GiB; its driver does not tell of how many"


def test_balance_over_cards() -> None:
    *_, even = said(card(0, 60.0), card(1, 58.0))
    assert even == "2 cards are even: the least filled holds 96.7 % of what the fullest does"
    assert said(card(0, 60.0), card(1, 30.0))[-1].startswith("cards are uneven: GPU 1 holds 50.0 % of what GPU 0 does")
    assert len(said(card(0, 60.0))) == 2


def test_the_cards_of_the_engine_under_load() -> None:
    cards = [
        SampledDevice(n, "H100", 5, Activity(busy, 400.0, 1980.0), 0.8) for n, busy in enumerate((96.0, 31.0, 0.0))
    ]
    load = ShortLoad(8, 2_048, 4.0, cards)
    rate, full, low = load_lines(load, [card(0, 60.0), card(1, 60.0), card(2, 0.0)])
    assert rate == "under load: 8 requests at once, 2,048 tokens in 4.0 s, 512 tok/s"
    assert full == "GPU 0  H100: 96 % busy, 400 W, 1,980 MHz, 80.0 % of its memory (mean of 5 samples)"
    assert low.startswith("GPU 1  H100: 31 % busy") and "at this load it waits for the host" in low


def test_where_the_driver_does_not_know_the_engine_all_cards_are_shown() -> None:
    load = ShortLoad(8, 64, 1.0, [SampledDevice(0, "H100", 1, Activity())])
    _, line = load_lines(load, [card(0, 0.0)])
    assert line == "GPU 0  H100: utilization, power, clock unknown (mean of 1 sample)"
    assert len([*load_lines(ShortLoad(8, 64, 1.0), [])]) == 1
