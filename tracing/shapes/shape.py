"""The shapes: what each sets in the environment, in the engine's arguments and in the platform's answer, by name.

A platform without a GPU forces one shape on the engine: the worker in a process of its own, no async scheduling,
spawned processes. The other shapes undo that, one decision each, and are run for real.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from probes.errors import usage_error
from tracing.shapes.hindrance import STRAGGLER
from tracing.shapes.pretend.work import Work

FrontEnd = Literal["streams", "batch", "server"]

# Several workers share the cores of one machine: each bound to cores of its own would need as many NUMA nodes.
UNBOUND = {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}
# An eager engine compiles some functions too: for the interpreter's device, of which torch's compiler knows nothing.
RUNNER_V2 = {"VLLM_USE_V2_MODEL_RUNNER": "1", "TRITON_INTERPRET": "1", "TORCH_COMPILE_DISABLE": "1"}
SMALL_VOCABULARY = 512  # Triton's interpreter samples in Python, word by word


@dataclass(frozen=True)
class Shape:
    """One shape; `vocabulary` is the model's number of words, None for all that its tokenizer has."""

    name: str
    meaning: str
    front_end: FrontEnd = "streams"
    async_scheduling: bool = False
    worker_in_core: bool = False
    start_method: Literal["spawn", "fork"] = "spawn"
    vocabulary: int | None = None
    environment: dict[str, str] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)  # arguments of vLLM's, of its own types
    files: Literal["", "LoRA", "KV", "quota"] = ""  # what works by files; those of a quota are a control group's
    kind: Literal["text", "grammar", "vector", "picture", "beams"] = "text"  # of request
    front_ends: int = 1
    streams: int = 12  # at once, of a server
    model: dict[str, Any] = field(default_factory=dict)  # of its configuration what the two-layer model has otherwise
    shows: tuple[str, ...] = ()  # the sites that its recording must have spans of, else the shape is not what it is for
    busy_neighbours: bool = False
    quota: float = 0.0  # cores that the engine may use while it has traffic; 0: no limit is set
    work: Work | None = None  # a step's on the pretend device; None: there is none

    @property
    def runner_v2(self) -> bool:
        """Whether Model Runner V2 runs, in Triton's interpreter."""
        return "VLLM_USE_V2_MODEL_RUNNER" in self.environment

    @property
    def processes(self) -> dict[str, int]:
        """How many processes are front ends, cores and workers; one that is several of them counts for each."""
        cores = int(self.engine.get("data_parallel_size", 1))
        workers = cores * int(self.engine.get("tensor_parallel_size", 1))
        return {"front end": self.front_ends, "core": cores, "worker": workers}


TP2 = {"tensor_parallel_size": 2}
DP2 = {"data_parallel_size": 2}
NGRAM = {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 3, "prompt_lookup_min": 1}
SMALL_BLOCKS = {"block_size": 32, "enable_prefix_caching": False}
# Two layers that see a window and one that sees all: two KV groups. The window is shorter than a block.
WINDOWS: dict[str, Any] = {
    "model_type": "gemma3_text",
    "architectures": ["Gemma3ForCausalLM"],
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 64,
    "num_hidden_layers": 3,
    "sliding_window_pattern": 3,
    "sliding_window": 16,
}
# The layers stay as they are, since vLLM's CPU platform cannot send tokens to experts elsewhere; its cores keep step.
EXPERTS = {"num_experts": 2}
COLLECTIVE, DEVICE_WAIT = ("collective",), ("device.wait",)
ONE_PROCESS = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}

SHAPES = {
    shape.name: shape
    for shape in (
        Shape("cpu", "the worker in a process of its own, no async scheduling: what a machine without a GPU has"),
        Shape(
            "async",
            "the same with async scheduling and the batch queue",
            async_scheduling=True,
            shows=DEVICE_WAIT,
        ),
        Shape(
            "one-gpu",
            "the worker inside the core, async scheduling and the batch queue: what one GPU has",
            async_scheduling=True,
            worker_in_core=True,
            shows=DEVICE_WAIT,
        ),
        Shape(
            "one-gpu-device",
            "the same with a pretend device, whose steps take 24, 18 and 12 ms (prefill, mixed, decode)",
            async_scheduling=True,
            worker_in_core=True,
            work=Work(24, 18, 12),
            shows=DEVICE_WAIT,
        ),
        Shape(
            "tp2",
            "two workers of one core, tensor parallel",
            environment=UNBOUND,
            engine=TP2,
            shows=COLLECTIVE,
        ),
        Shape(
            "tp2-async",
            "two workers with async scheduling and the batch queue",
            async_scheduling=True,
            environment=UNBOUND,
            engine=TP2,
            shows=COLLECTIVE + DEVICE_WAIT,
        ),
        Shape("dp2", "two cores with a coordinator, data parallel", environment=UNBOUND, engine=DP2),
        Shape(
            "dp2-experts",
            "two cores that keep step, as those of a model of experts do, with a pretend device each",
            async_scheduling=True,
            worker_in_core=True,
            vocabulary=SMALL_VOCABULARY,
            environment=UNBOUND,
            engine=DP2,
            model=EXPERTS,
            work=Work(24, 18, 12),
            shows=("executor.dummy", "worker.dummy", "ranks.agree", "coordinator.agree"),
        ),
        Shape("two-front-ends", "an API server of two processes before one core", front_end="server", front_ends=2),
        Shape("server", "an API server under 40 streams", front_end="server", streams=40),
        Shape("fork", "forked processes, as CUDA's default has them", start_method="fork"),
        Shape(
            "in-process",
            "front end, core and worker in one process",
            front_end="batch",
            environment=ONE_PROCESS,
            shows=("llm.step",),
        ),
        Shape(
            "v2-one-gpu",
            "one GPU's shape with Model Runner V2, in Triton's interpreter",
            async_scheduling=True,
            worker_in_core=True,
            vocabulary=SMALL_VOCABULARY,
            environment=RUNNER_V2,
            shows=DEVICE_WAIT,
        ),
        Shape(
            "v2-tp2",
            "two workers with Model Runner V2, in Triton's interpreter",
            vocabulary=SMALL_VOCABULARY,
            environment=RUNNER_V2 | UNBOUND,
            engine=TP2,
            shows=COLLECTIVE,
        ),
        Shape(
            "ngram",
            "n-gram speculation",
            engine={"speculative_config": NGRAM},
            shows=("spec.propose", "spec.verify"),
        ),
        Shape(
            "lora",
            "requests with a LoRA adapter",
            engine={"enable_lora": True, "max_lora_rank": 8},
            files="LoRA",
            shows=("lora.activate",),
        ),
        Shape(
            "kv-connector",
            "KV blocks that come from files",
            engine=SMALL_BLOCKS,
            files="KV",
            shows=("kv.connector",),
        ),
        Shape(
            "grammar",
            "answers of the form that a JSON schema allows",
            kind="grammar",
            shows=("grammar.compile", "scheduler.grammar"),
        ),
        Shape("beams", "beam search: each token of a beam is a request", front_end="batch", kind="beams"),
        Shape(
            "priority",
            "four requests at a time, and of those that wait the last one first",
            engine={"scheduling_policy": "priority", "max_num_seqs": 4},
        ),
        Shape(
            "windows",
            "a model with KV groups of two kinds",
            vocabulary=SMALL_VOCABULARY,
            engine=SMALL_BLOCKS,
            model=WINDOWS,
        ),
        Shape(
            "compiled",
            "a model that torch.compile has compiled",
            engine={"enforce_eager": False},
            shows=("runner.forward", "model.forward"),
        ),
        Shape("vectors", "a vector for each prompt in place of tokens", engine={"runner": "pooling"}, kind="vector"),
        Shape(
            "pictures",
            "prompts with a picture in them, for a model of two towers",
            kind="picture",
            shows=("encoder.run",),
        ),
        Shape(
            "straggler",
            "two workers, of which the last is slower in every step",
            environment=UNBOUND | {STRAGGLER: "10"},
            engine=TP2,
            shows=COLLECTIVE,
        ),
        Shape("busy-neighbour", "a neighbour on every core, that works and rests in turns", busy_neighbours=True),
        Shape("quota", "a control group's quota of half a core", files="quota", quota=0.5),
    )
}


def shape_named(name: str) -> Shape:
    """The shape of this name; bad usage where there is none."""
    if name not in SHAPES:
        raise usage_error(f"no shape is called {name!r}; there are {', '.join(SHAPES)}")
    return SHAPES[name]
