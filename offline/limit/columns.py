"""The columns of the limit in the table: a trial's figures and what an arm's stand on; every figure is an estimate."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from probes.columns import column

FLOOR = "sum over steps of max(bytes / memory_bytes_s, operations / matrix_flop_s)"


@dataclass(frozen=True)
class LimitFigures:
    """One trial; None where it has no such steps, or where the arithmetic does not hold."""

    mbu: float | None = field(
        default=None,
        metadata=column(
            "estimate: share of the memory rate, decode steps", "", "bytes / (their time * memory_bytes_s)"
        ),
    )
    mfu: float | None = field(
        default=None,
        metadata=column(
            "estimate: share of the matrix rate, steps that prefill", "", "operations / (their time * matrix_flop_s)"
        ),
    )
    decode_floor_s: float | None = field(
        default=None, metadata=column("estimate: least time of the decode steps", "s", FLOOR)
    )
    decode_share: float | None = field(
        default=None,
        metadata=column("estimate: achieved share of the limit, decode", "", "decode_floor_s / their time"),
    )
    prefill_floor_s: float | None = field(
        default=None, metadata=column("estimate: least time of the steps that prefill", "s", FLOOR)
    )
    prefill_share: float | None = field(
        default=None,
        metadata=column("estimate: achieved share of the limit, prefill", "", "prefill_floor_s / their time"),
    )


LIMIT_FIGURES = tuple(each.name for each in fields(LimitFigures))


@dataclass(frozen=True)
class LimitColumns:
    """What the estimates of an arm stand on."""

    limit_note: str = field(metadata=column("why there is no estimate of the limit, or of a part of it"))
    parameters: int | None = field(default=None, metadata=column("parameters of the model, by its configuration"))
    active_parameters: int | None = field(default=None, metadata=column("of those, what a token passes"))
    kv_token_bytes: int | None = field(default=None, metadata=column("keys and values of a token, all layers", "bytes"))
    decode_weights_bytes: float | None = field(
        default=None, metadata=column("weights that the decode of one token reads", "bytes")
    )
    memory_bytes_s: float | None = field(
        default=None, metadata=column("memory rate of all devices of the engine, as measured", "bytes/s")
    )
    matrix_flop_s: float | None = field(
        default=None, metadata=column("matrix rate of the same, in the arm's dtype", "operations/s")
    )
