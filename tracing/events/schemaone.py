"""Event files of schema 1 as records of today's: texts stood among the records, and a worker counted its steps itself.

`TEXT` named its number in `request` and its length in `value`; its bytes followed in `MORE` records, as those of lists.
"""

from __future__ import annotations

import numpy as np

from tracing.events.layout import LIST, MORE, PAYLOAD_BYTES, RECORD

SCHEMA_ONE = 1
OLD_TEXT, OLD_LIST, OLD_MORE = 3, 4, 5


def from_schema_one(records: np.ndarray) -> tuple[np.ndarray, dict[int, str], int]:
    """Records as they are numbered today without the texts, the texts by number, and how many of those were cut."""
    written = np.flatnonzero(records["kind"])
    records = records[: int(written[-1]) + 1 if len(written) else 0].copy()  # the rest was never written
    texts: dict[int, str] = {}
    is_text, cut = np.zeros(len(records), dtype=bool), 0
    for head in np.flatnonzero(records["kind"] == OLD_TEXT).tolist():
        length = int(records["value"][head])
        end = head + 1 + -(-length // PAYLOAD_BYTES)
        more = records[head + 1 : end]
        is_text[head] = True
        if len(more) < end - head - 1 or (more["kind"] != OLD_MORE).any():
            cut += 1
            continue
        is_text[head:end] = True
        payload = more.view(np.uint8).reshape(-1, RECORD.itemsize)[:, :PAYLOAD_BYTES].tobytes()
        texts[int(records["request"][head])] = payload[:length].decode(errors="replace")
    rest = records[~is_text]
    kinds = rest["kind"].copy()
    rest["kind"][kinds == OLD_LIST], rest["kind"][kinds == OLD_MORE] = LIST, MORE
    return rest, texts, cut
