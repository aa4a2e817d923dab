"""Day 1, as it may be answered."""

BATCH = "whole.jsonl"

QUOTATIONS = {
    "class": "An asynchronous wrapper for the vLLM engine.",
    "streaming": "The caller of generate() iterates the returned AsyncGenerator",
    "background loop": "A separate output_handler loop runs in a background AsyncIO task",
}

ROLES = {
    "AsyncLLM.generate": "front end",
    "InputProcessor.process_inputs": "front end",
    "EngineCore.preprocess_add_request": "core",
    "Scheduler.schedule": "core",
    "KVCacheManager.allocate_slots": "core",
    "Worker.execute_model": "worker",
    "BaseIncrementalDetokenizer.update": "front end",
    "RequestOutputCollector.put": "front end",
}

JOBS = {
    "reads the HTTP body": "API server",
    "applies the chat template": "API server",
    "gives the request its internal id": "AsyncLLM",
    "turns token ids into text": "AsyncLLM",
    "writes the server-sent events": "API server",
    "notices that the client went away": "API server",
    "tells the core to stop a request": "AsyncLLM",
}

PLACES = {
    "route": "vllm/entrypoints/openai/chat_completion/api_router.py:create_chat_completion",
    "hands over": "vllm/entrypoints/openai/chat_completion/serving.py:OpenAIServingChat._create_chat_completion",
    "sends": "vllm/v1/engine/async_llm.py:AsyncLLM._add_request",
    "takes": "vllm/v1/engine/async_llm.py:AsyncLLM._run_output_handler",
}

SENTENCES = {
    "API server": "The API server reads HTTP bodies, applies the chat template and writes the answer as JSON.",
    "AsyncLLM": "AsyncLLM tokenizes a prompt, sends it to the core, and yields its outputs as an async generator.",
    "core": "The core schedules each step, gives out KV blocks, and has the workers compute the model.",
}
