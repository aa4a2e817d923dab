"""vLLM's own selection for an AMD card on a machine without one: rocm_selection.py < Question.

Only what asks the card is a stand-in: `amdsmi` says that it is an MI300X, and the platform is ROCm's of this vLLM.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


def stand_in() -> ModuleType:
    def nothing(*_: Any) -> None:
        pass

    module = ModuleType("amdsmi")
    answers = {"amdsmi_get_processor_handles": lambda: ["card"], "AmdSmiException": Exception, "AmdSmiMemoryType": None}
    answers["amdsmi_get_gpu_asic_info"] = lambda _: {"target_graphics_version": "gfx942"}
    others = ("init", "shut_down", "get_gpu_device_uuid", "get_gpu_memory_total", "topo_get_link_type")
    module.__dict__.update({f"amdsmi_{name}": nothing for name in (*others, "topo_get_numa_node_number")} | answers)
    return module


def main() -> None:
    sys.modules["amdsmi"] = stand_in()
    import vllm.platforms
    from vllm.platforms.rocm import RocmPlatform

    vllm.platforms.current_platform = RocmPlatform()
    from vllm.triton_utils import tl

    if not hasattr(tl, "bfloat16"):
        tl.bfloat16 = None  # vLLM's placeholder where there is no Triton for the device
    from probes.doctor.model.selection import main as answer

    answer()


if __name__ == "__main__":
    main()
