"""The front end's sites: a request on its way in, and its outputs on their way back."""

from __future__ import annotations

from .site import Site

_GENERATOR = "vllm.v1.engine.async_llm:AsyncLLM"
_CLIENT = "vllm.v1.engine.core_client:"
_OUTPUTS = "vllm.v1.engine.output_processor:"
_WIRE = "vllm.v1.serial_utils:"

WAY_IN: tuple[Site, ...] = (
    Site("llm.generate", "generate", "front end", ("vllm.entrypoints.llm:LLM.generate",), share="loop"),
    Site(
        "llm.render",
        "tokenize",
        "front end",
        (
            "vllm.entrypoints.common.offline:OfflineInferenceMixin._preprocess_cmpl_one",
            "vllm.entrypoints.offline_utils:OfflineInferenceMixin._preprocess_cmpl_one",
        ),
        required=False,
    ),
    Site("llm.add_request", "accept", "front end", ("vllm.v1.engine.llm_engine:LLMEngine.add_request",)),
    Site(
        "async.generate",
        "yield",
        "front end",
        (f"{_GENERATOR}.generate",),
        kind="async generator",
        numbers=("suspended 0, yielded 1, ended 2", "call * 2 + finished"),
    ),
    Site("async.add_request", "accept", "front end", (f"{_GENERATOR}.add_request",), kind="coroutine"),
    Site("input.process", "tokenize", "front end", ("vllm.v1.engine.input_processor:InputProcessor.process_inputs",)),
    Site(
        "input.assign_id",
        "accept",
        "front end",
        ("vllm.v1.engine.input_processor:InputProcessor.assign_request_id",),
        kind="static",
    ),
    Site("output.register", "register", "front end", (f"{_OUTPUTS}OutputProcessor.add_request",)),
    Site("client.send", "send", "front end", (f"{_CLIENT}SyncMPClient._send_input",), numbers=("", "request type")),
    Site(
        "client.send_async",
        "send",
        "front end",
        (f"{_CLIENT}AsyncMPClient._send_input",),
        numbers=("", "request type"),
    ),
    Site("wire.encode", "serialize", "front end", (f"{_WIRE}MsgpackEncoder.encode",), numbers=("bytes", "")),
)

WAY_BACK: tuple[Site, ...] = (
    Site("client.receive", "deserialize", "front end", (f"{_WIRE}MsgpackDecoder.decode",), numbers=("bytes", "")),
    Site("client.wait", "wait: core", "front end", (f"{_CLIENT}SyncMPClient.get_output",), share="wait"),
    Site("llm.step", "engine loop", "front end", ("vllm.v1.engine.llm_engine:LLMEngine.step",), share="loop"),
    Site(
        "output.process",
        "process outputs",
        "front end",
        (f"{_OUTPUTS}OutputProcessor.process_outputs",),
        numbers=("outputs", ""),
    ),
    Site(
        "output.detokenize",
        "detokenize",
        "front end",
        ("vllm.v1.engine.detokenizer:BaseIncrementalDetokenizer.update",),
        numbers=("new tokens", ""),
    ),
    Site("output.deliver", "deliver", "front end", (f"{_OUTPUTS}RequestOutputCollector.put",)),
    Site(
        "output.stats", "statistics", "front end", ("vllm.v1.metrics.loggers:StatLoggerManager.record",), required=False
    ),
    Site(
        "output.abort", "abort", "front end", (f"{_OUTPUTS}OutputProcessor.abort_requests",), numbers=("requests", "")
    ),
    Site("async.abort", "abort", "front end", (f"{_GENERATOR}.abort",), kind="coroutine"),
)
