"""The cards of a parallel run: which are used, what is refused, and who measures what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from offline.variants.cards import Card, parallel_cards, starts_at_once
from offline.variants.variant import SERVER, TORCH, Variant
from probes.devices.device import Device
from probes.errors import EnginescopeError

GIB = 1 << 30
FIRST = Device("nvidia", 0, "H100", 0, 80 * GIB, uuid="GPU-a")
SECOND = replace(FIRST, index=1, uuid="GPU-b")
ENGINE, TWO = Variant("vllm-page"), Variant("two", settings={"tensor_parallel_size": 2})


def test_each_start_sees_one_card() -> None:
    cards = parallel_cards([ENGINE, Variant("torch", TORCH)], "cuda", [FIRST, SECOND], {}, 6)
    assert cards == (
        Card("GPU-a", {"CUDA_VISIBLE_DEVICES": "GPU-a"}),
        Card("GPU-b", {"CUDA_VISIBLE_DEVICES": "GPU-b"}),
    )


def test_an_amd_card_is_picked_by_the_variable_that_takes_its_uuid_and_numbered_anew_after_it() -> None:
    """vLLM reads a number from the others, and refuses two that differ."""
    first = replace(FIRST, vendor="amd", name="MI300X", uuid="GPU-de82")
    cards = parallel_cards(
        [ENGINE], "rocm", [first, replace(first, index=1, uuid="GPU-de83")], {"HIP_VISIBLE_DEVICES": "1,0"}, 6
    )
    numbered = {"HIP_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": "0"}
    assert cards == (
        Card("GPU-de83", {"ROCR_VISIBLE_DEVICES": "GPU-de83", **numbered}),
        Card("GPU-de82", {"ROCR_VISIBLE_DEVICES": "GPU-de82", **numbered}),
    )


def test_cards_that_the_user_hides_are_not_used() -> None:
    third = replace(FIRST, index=2, uuid="GPU-c")
    cards = parallel_cards([ENGINE], "cuda", [FIRST, SECOND, third], {"CUDA_VISIBLE_DEVICES": "2,0"}, 6)
    assert [card.name for card in cards] == ["GPU-c", "GPU-a"]


@pytest.mark.parametrize(
    ("variant", "platform", "devices", "cores", "message"),
    [
        (ENGINE, "cpu", [], 64, "needs two cards or more, the engine has 0: trials would share it"),
        (ENGINE, "cuda", [FIRST], 64, "needs two cards or more, the engine has 1"),
        (ENGINE, "rocm", [FIRST, SECOND], 64, "needs two cards or more, the engine has 0"),
        (ENGINE, "cuda", [FIRST, replace(SECOND, name="A100")], 64, "cards of one kind, not H100, A100"),
        (ENGINE, "cuda", [FIRST, SECOND], 5, "on 2 cards needs 6 cores, there are 5: trials would disturb each other"),
        (TWO, "cuda", [FIRST, SECOND], 64, "gives a start one card: two takes 2"),
        (Variant("apart", split=True), "cuda", [FIRST, SECOND], 64, "gives a start one card: apart takes 2"),
        (Variant("server", SERVER), "cuda", [FIRST, SECOND], 64, "starts engines: server is a server"),
        (Variant("own", serve=True), "cuda", [FIRST, SECOND], 64, "starts engines: own is a server"),
    ],
)
def test_what_would_disturb_each_other_is_refused(
    variant: Variant, platform: str, devices: list[Device], cores: int, message: str
) -> None:
    with pytest.raises(EnginescopeError, match=message):
        parallel_cards([variant], platform, devices, {}, cores)


@pytest.mark.parametrize(
    ("starts", "cards", "at_once"), [(3, 0, 1.0), (3, 1, 1.0), (4, 2, 2.0), (3, 2, 1.5), (1, 8, 1.0)]
)
def test_a_card_without_a_start_left_waits(starts: int, cards: int, at_once: float) -> None:
    assert starts_at_once(starts, cards) == at_once
