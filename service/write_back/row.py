"""A row of `user_augmented`: what a model filled in for one user, as both stores keep it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from struct import pack
from typing import Any

from feast.protos.feast.types.Value_pb2 import FloatList, StringList, Value

from models.schema import BLOCKS
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


@dataclass(frozen=True)
class AugmentedRow:
    """One user's fill; attributes as the view's features."""

    user_id: str
    generated_at: datetime
    filled_affinity: Sequence[float]
    user_embedding: Sequence[float]
    virtual_items: Sequence[str]
    virtual_weights: Sequence[float]
    block_origins: Sequence[str]
    block_confidences: Sequence[float]
    rung: str
    observed_count: int
    model_version: str

    @classmethod
    def of(cls, user_id: str, answer: Answer, row: int) -> "AugmentedRow":
        """The fill in one row of an answer."""
        rung, item_ids = answer.decisions[row].rung, answer.bundle.item_ids
        items, weights = answer.virtual_items[row].tolist(), answer.virtual_weights[row].tolist()
        filled = [position for position, item in enumerate(items) if item != NO_ITEM]
        return cls(
            user_id=user_id,
            generated_at=answer.generated_at,
            filled_affinity=answer.affinity[row].tolist(),
            user_embedding=answer.embedding[row].tolist(),
            virtual_items=[item_ids[items[position]] for position in filled],
            virtual_weights=[weights[position] for position in filled],
            block_origins=[ORIGIN_NAMES[rung]] * len(BLOCKS),
            block_confidences=answer.confidence[row].tolist(),
            rung=rung,
            observed_count=int(answer.counts[row]),
            model_version=answer.model_version,
        )

    @property
    def generated_at_ms(self) -> int:
        """When it was computed, milliseconds since the epoch."""
        return int(self.generated_at.timestamp() * 1e3)

    def values(self) -> dict[str, Value]:
        """The row as Feast stores it online."""
        return {
            "filled_affinity": Value(float_list_val=FloatList(val=self.filled_affinity)),
            "user_embedding": Value(float_list_val=FloatList(val=self.user_embedding)),
            "virtual_items": Value(string_list_val=StringList(val=self.virtual_items)),
            "virtual_weights": Value(float_list_val=FloatList(val=self.virtual_weights)),
            "block_origins": Value(string_list_val=StringList(val=self.block_origins)),
            "block_confidences": Value(float_list_val=FloatList(val=self.block_confidences)),
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
            _strings(self.virtual_items),
            _floats(self.virtual_weights),
            _strings(self.block_origins),
            _floats(self.block_confidences),
            delimited(_STRING, self.rung.encode()),
            _INT64 + varint(self.observed_count),
            delimited(_STRING, self.model_version.encode()),
            _INT64 + varint(self.generated_at_ms),
        ]

    def columns(self) -> dict[str, Any]:
        """The row as a part file stores it."""
        columns = {
            name: list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
            for name, value in vars(self).items()
            if name != "generated_at"
        }
        return columns | {
            "generated_at_ms": self.generated_at_ms,
            "event_timestamp": self.generated_at,
            "created_timestamp": datetime.now(UTC),
        }


def augmented_rows(user_ids: Sequence[str], answer: Answer) -> list[AugmentedRow]:
    """The rows of an answer; none for users who needed no fill."""
    return [
        AugmentedRow.of(user_id, answer, row)
        for row, user_id in enumerate(user_ids)
        if answer.decisions[row].rung != OBSERVED
    ]


def _floats(numbers: Sequence[float]) -> bytes:
    packed = pack(f"<{len(numbers)}f", *numbers)
    return delimited(_FLOAT_LIST, delimited(_ELEMENT, packed) if packed else b"")


def _strings(texts: Sequence[str]) -> bytes:
    return delimited(_STRING_LIST, b"".join(map(_element, texts)))


@lru_cache(maxsize=1 << 16)
def _element(text: str) -> bytes:
    """One of a list: the same items and origins recur."""
    return delimited(_ELEMENT, text.encode())
