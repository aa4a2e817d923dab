"""What a gauge of several engines is together: their sum, their mean, or the largest of them, as it means.

Of several API server processes (`pid` labels) only the one that an engine tells its state has its values, so over these
the largest counts, whatever the gauge is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

How = Literal["sum", "mean", "max"]
PID = "pid"
Labels = tuple[tuple[str, str], ...]
# Of which there are more with every engine: requests, blocks, jobs, connections, and engines in a state.
SUMMED = (
    "engine_sleep_state",
    "hisparse_pending_page_transfers",
    "kv_offload_tiering_active_cascade_jobs",
    "kv_offload_tiering_active_promotion_jobs",
    "num_requests_kv_fetch_by_stage",
    "num_requests_running",
    "num_requests_swapped",
    "num_requests_waiting",
    "num_requests_waiting_by_reason",
    "rl_weight_update_operations_in_flight",
    "simple_kv_offload_pending_store_blocks",
    "simple_kv_offload_used_blocks",
    "sleep_mode_operations_in_flight",
    "websocket_connections_active",
)
# Shares of what every engine has as much of.
AVERAGED = (
    "cpu_cache_usage_perc",
    "cpu_prefix_cache_hit_rate",
    "gpu_cache_usage_perc",
    "gpu_prefix_cache_hit_rate",
    "hisparse_host_cache_usage_perc",
    "kv_cache_usage_perc",
    "kv_offload_tiering_primary_read_usage_perc",
    "kv_offload_tiering_primary_write_usage_perc",
    "spec_decode_draft_acceptance_rate",
    "spec_decode_efficiency",
)
# Facts, which are 1, the time of the last change (LoRA), and a delay of which the slowest engine's counts.
LARGEST = (
    "cache_config_info",
    "kv_offload_config_info",
    "kv_offload_tiering_backpressure_store_latency_ema",
    "lora_requests_info",
    "simple_kv_offload_info",
)
OF_NAMES: dict[How, tuple[str, ...]] = {"sum": SUMMED, "mean": AVERAGED, "max": LARGEST}
HOW = {f"vllm:{name}": how for how, names in OF_NAMES.items() for name in names}


def together(name: str, series: Mapping[Labels, float]) -> float | None:
    """The value of a gauge's series taken together; None without one. KeyError: no gauge of vLLM is called so."""
    of_one: dict[frozenset[tuple[str, str]], float] = {}
    for labels, value in series.items():
        key = frozenset(pair for pair in labels if pair[0] != PID)
        of_one[key] = max(value, of_one.get(key, value))
    values = list(of_one.values())
    if not values:
        return None
    match HOW[name]:
        case "sum":
            return sum(values)
        case "mean":
            return sum(values) / len(values)
        case "max":
            return max(values)
