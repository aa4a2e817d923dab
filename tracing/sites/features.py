"""The sites of what only some engines use: speculation, LoRA, multimodal encoders, KV connectors, structured output,
several engines or pipeline stages. None is required: each is there where its module is in use.

The coordinator of several engines runs in a process in which vLLM loads no plugin: its part is seen from the cores.
"""

from __future__ import annotations

from .site import Share, Site
from .worker import RUNNER_V1

_CONNECTORS = "vllm.distributed.kv_transfer.kv_connector.v1."
_DP = "vllm.v1.engine.core:DPEngineCoreProc"
_GROUP = "vllm.distributed.parallel_state:GroupCoordinator"
_SCHEDULER = "vllm.v1.core.sched.scheduler:Scheduler"
_SPECULATORS = "vllm.v1.worker.gpu.spec_decode."
_STRUCTURED = "vllm.v1.structured_output:StructuredOutputManager"
_V2_CONNECTOR = "vllm.v1.worker.gpu.kv_connector:ActiveKVConnector"


def _worker(name: str, stage: str, *targets: str, share: Share = "work", numbers: tuple[str, str] = ("", "")) -> Site:
    return Site(name, stage, "worker", targets, share=share, required=False, numbers=numbers)


def _core(name: str, stage: str, *targets: str, share: Share = "work", numbers: tuple[str, str] = ("", "")) -> Site:
    return Site(name, stage, "core", targets, share=share, required=False, numbers=numbers)


IN_WORKER: tuple[Site, ...] = (
    _worker(
        "spec.propose",
        "draft",
        f"{RUNNER_V1}.propose_draft_token_ids",
        f"{_SPECULATORS}autoregressive.speculator:AutoRegressiveSpeculator.propose",
        f"{_SPECULATORS}target_dependent_ar.speculator:TargetDependentARSpeculator.propose",
        f"{_SPECULATORS}draft_model.speculator:PlainDraftModelSpeculator.propose",
        f"{_SPECULATORS}standalone_ar.speculator:StandaloneARSpeculator.propose",
        f"{_SPECULATORS}dflash.speculator:DFlashSpeculator.propose",
        f"{_SPECULATORS}multi_module_mtp.speculator:MultiModuleMTPSpeculator.propose",
        f"{_SPECULATORS}ngram.speculator:NgramGPUSpeculator.propose",
        f"{_SPECULATORS}extract_hidden_states:ExtractHiddenStatesSpeculator.propose",
    ),
    _worker(
        "spec.verify",
        "verify",
        "vllm.v1.sample.rejection_sampler:RejectionSampler.forward",
        f"{_SPECULATORS}rejection_sampler:RejectionSampler.__call__",
    ),
    _worker("lora.activate", "LoRA", "vllm.v1.worker.lora_model_runner_mixin:LoRAModelRunnerMixin._set_active_loras"),
    _worker(
        "encoder.run",
        "encoder",
        f"{RUNNER_V1}._execute_mm_encoder",
        "vllm.v1.worker.gpu.mm.encoder_runner:EncoderRunner.execute_mm_encoder",
    ),
    _worker(
        "kv.connector",
        "KV connector",
        f"{_V2_CONNECTOR}.pre_forward",
        f"{_V2_CONNECTOR}.finish_forward",
        f"{_V2_CONNECTOR}.post_forward",
        f"{_V2_CONNECTOR}.no_forward",
        *(
            f"{_CONNECTORS}{connector}.{method}"
            for connector in (
                "example_connector:ExampleConnector",
                "lmcache_connector:LMCacheConnectorV1",
                "multi_connector:MultiConnector",
                "nixl.connector:NixlPullConnector",
                "nixl.connector:NixlPushConnector",
                "nixl.connector:NixlBaseConnector",
            )
            for method in ("start_load_kv", "wait_for_save", "get_finished")
        ),
    ),
    _worker(
        "kv.offload",
        "KV offload",
        f"{_CONNECTORS}offloading_connector:OffloadingConnector.start_load_kv",
        f"{_CONNECTORS}offloading_connector:OffloadingConnector.wait_for_save",
        f"{_CONNECTORS}offloading_connector:OffloadingConnector.get_finished",
    ),
    # Below the custom operators that a compiled model calls. How much of one is waiting, several ranks' spans tell.
    _worker(
        "collective",
        "collective",
        f"{_GROUP}._all_reduce_out_place",
        f"{_GROUP}._all_gather_out_place",
        f"{_GROUP}._reduce_scatter_out_place",
        f"{_GROUP}.all_gatherv",
        f"{_GROUP}.reduce_scatterv",
        f"{_GROUP}.gather",
        f"{_GROUP}.dispatch",
        f"{_GROUP}.combine",
        numbers=("first rank", "last rank"),
    ),
    # Before each batch the workers of engines that keep step agree on its size; who comes first waits. Where NCCL does
    # it (without async scheduling) the result is waited for, and with it all that the device was given before.
    _worker(
        "ranks.agree",
        "wait: other ranks",
        "vllm.v1.worker.dp_utils:_synchronize_dp_ranks",
        "vllm.v1.worker.gpu.dp_utils:sync_cudagraph_and_dp_padding",
        share="wait",
    ),
    _worker("pipeline.send", "pipeline send", f"{_GROUP}.isend_tensor_dict"),
    _worker("pipeline.receive", "pipeline receive", f"{_GROUP}.irecv_tensor_dict"),
    _worker(
        "pipeline.wait",
        "wait: pipeline",
        "vllm.v1.worker.gpu_worker:AsyncIntermediateTensors.wait_for_comm",
        "vllm.v1.worker.gpu.pp_utils:PPHandler.receive",
        share="wait",
    ),
)

IN_CORE: tuple[Site, ...] = (
    _core("grammar.compile", "grammar compile", f"{_STRUCTURED}._create_grammar"),
    _core(
        "kv.remote_wait",
        "schedule",
        f"{_SCHEDULER}._handle_blocked_waiting_request",
        numbers=("ns waited for remote KV", "reason not ready"),
    ),
    _core("coordinator.report", "coordinate", f"{_DP}._maybe_publish_request_counts"),
    # An all-reduce over the engines, in which the fast ones wait for the slow.
    _core("coordinator.agree", "wait: engines", f"{_DP}._has_global_unfinished_reqs", share="wait"),
)
