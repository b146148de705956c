"""A row of `user_augmented`: what a model filled in for one user, as both stores keep it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
import pyarrow as pa
from feast.protos.feast.types.Value_pb2 import FloatList, StringList, Value

from models.schema import BLOCKS, Floats
from service.api.wire import delimited, varint
from service.fill.blocks import NO_ITEM, Answer
from service.fill.ladder import OBSERVED

VIEW = "user_augmented"

ORIGIN_NAMES: Mapping[str, str] = {
    OBSERVED: "observed",
    "generator": "generated",
    "student": "distilled",
    "segment_prior": "segment_prior",
    "global_prior": "global_prior",
}
"""By rung, the origin of what it filled in."""

FEATURES = (
    "filled_affinity",
    "user_embedding",
    "virtual_items",
    "virtual_weights",
    "block_origins",
    "block_confidences",
    "rung",
    "observed_count",
    "model_version",
    "generated_at_ms",
)

# Fields of feast/types/Value.proto, and the one field of its lists.
_STRING, _INT64, _STRING_LIST, _FLOAT_LIST = b"\x12", b"\x20", b"\x62", b"\x82\x01"
_ELEMENT = b"\x0a"


@dataclass(frozen=True, slots=True, eq=False)
class AugmentedRow:
    """One user's fill; attributes as the view's features, vectors as views of the answer."""

    user_id: str
    generated_at: datetime
    filled_affinity: Floats
    user_embedding: Floats
    virtual_items: Sequence[str]
    virtual_weights: Floats
    block_confidences: Floats
    rung: str
    observed_count: int
    model_version: str

    @classmethod
    def of(cls, user_id: str, answer: Answer, row: int) -> "AugmentedRow":
        """The fill in one row of an answer."""
        items, weights = answer.virtual_items[row].tolist(), answer.virtual_weights[row]
        if NO_ITEM in items:
            filled = [position for position, item in enumerate(items) if item != NO_ITEM]
            items, weights = [items[position] for position in filled], weights[filled]
        item_ids = answer.bundle.item_ids
        return cls(
            user_id,
            answer.generated_at,
            answer.affinity[row],
            answer.embedding[row],
            [item_ids[item] for item in items],
            weights,
            answer.confidence[row],
            answer.decisions[row].rung,
            int(answer.counts[row]),
            answer.model_version,
        )

    @property
    def block_origins(self) -> list[str]:
        """Where each block came from."""
        return [ORIGIN_NAMES[self.rung]] * len(BLOCKS)

    @property
    def generated_at_ms(self) -> int:
        """When it was computed, milliseconds since the epoch."""
        return int(self.generated_at.timestamp() * 1e3)

    def values(self) -> dict[str, Value]:
        """The row as Feast stores it online."""
        return {
            "filled_affinity": Value(float_list_val=FloatList(val=self.filled_affinity.tolist())),
            "user_embedding": Value(float_list_val=FloatList(val=self.user_embedding.tolist())),
            "virtual_items": Value(string_list_val=StringList(val=self.virtual_items)),
            "virtual_weights": Value(float_list_val=FloatList(val=self.virtual_weights.tolist())),
            "block_origins": Value(string_list_val=StringList(val=self.block_origins)),
            "block_confidences": Value(float_list_val=FloatList(val=self.block_confidences.tolist())),
            "rung": Value(string_val=self.rung),
            "observed_count": Value(int64_val=self.observed_count),
            "model_version": Value(string_val=self.model_version),
            "generated_at_ms": Value(int64_val=self.generated_at_ms),
        }

    def serialized(self) -> list[bytes]:
        """The same values, serialized without making messages, in the order of `FEATURES`."""
        return [
            _floats(self.filled_affinity),
            _floats(self.user_embedding),
            delimited(_STRING_LIST, b"".join(map(_element, self.virtual_items))),
            _floats(self.virtual_weights),
            _origins(self.rung),
            _floats(self.block_confidences),
            _text(self.rung),
            _INT64 + varint(self.observed_count),
            _text(self.model_version),
            _INT64 + varint(self.generated_at_ms),
        ]


def table_of(rows: Sequence[AugmentedRow], schema: pa.Schema) -> pa.Table:
    """Rows as a part file stores them, in the columns of `schema`."""
    times = {
        "event_timestamp": [row.generated_at for row in rows],
        "created_timestamp": [datetime.now(UTC)] * len(rows),
    }
    return pa.Table.from_pydict(
        {name: times.get(name) or [getattr(row, name) for row in rows] for name in schema.names},
        schema=schema,
    )


def augmented_rows(user_ids: Sequence[str], answer: Answer) -> list[AugmentedRow]:
    """The rows of an answer; none for users who needed no fill."""
    return [
        AugmentedRow.of(user_id, answer, row)
        for row, user_id in enumerate(user_ids)
        if answer.decisions[row].rung != OBSERVED
    ]


def _floats(numbers: Floats) -> bytes:
    packed = np.asarray(numbers, "<f4").tobytes()
    return delimited(_FLOAT_LIST, delimited(_ELEMENT, packed) if packed else b"")


@lru_cache(maxsize=1 << 16)
def _element(text: str) -> bytes:
    """One of a list: the same items recur."""
    return delimited(_ELEMENT, text.encode())


@lru_cache
def _origins(rung: str) -> bytes:
    return delimited(_STRING_LIST, _element(ORIGIN_NAMES[rung]) * len(BLOCKS))


@lru_cache
def _text(text: str) -> bytes:
    return delimited(_STRING, text.encode())
