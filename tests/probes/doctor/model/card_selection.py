"""vLLM's own selection for a card on a machine without one: card_selection.py rocm|cuda < Question.

Only what asks the card is a stand-in, which says that it is an MI300X or an H100; the platform is this vLLM's own.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


def amdsmi() -> ModuleType:
    def nothing(*_: Any) -> None:
        pass

    module = ModuleType("amdsmi")
    answers = {"amdsmi_get_processor_handles": lambda: ["card"], "AmdSmiException": Exception, "AmdSmiMemoryType": None}
    answers["amdsmi_get_gpu_asic_info"] = lambda _: {"target_graphics_version": "gfx942"}
    others = ("init", "shut_down", "get_gpu_device_uuid", "get_gpu_memory_total", "topo_get_link_type")
    module.__dict__.update({f"amdsmi_{name}": nothing for name in (*others, "topo_get_numa_node_number")} | answers)
    return module


def rocm() -> Any:
    sys.modules["amdsmi"] = amdsmi()
    from vllm.platforms.rocm import RocmPlatform

    return RocmPlatform()


def cuda() -> Any:
    sys.modules["vllm._C_stable_libtorch"] = ModuleType("of CUDA's build")
    from vllm.platforms import cuda
    from vllm.platforms.interface import DeviceCapability

    capability = classmethod(lambda cls, device_id=0: DeviceCapability(9, 0))
    return type("Card", (cuda.NonNvmlCudaPlatform,), {"get_device_capability": capability})()


def main() -> None:
    import vllm.platforms

    vllm.platforms.current_platform = {"rocm": rocm, "cuda": cuda}[sys.argv[1]]()
    from vllm.triton_utils import tl

    if not hasattr(tl, "bfloat16"):
        tl.bfloat16 = None  # vLLM's placeholder where there is no Triton for the device
    from probes.doctor.model.selection import main as answer

    answer()


if __name__ == "__main__":
    main()
