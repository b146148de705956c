"""Popularity ↔ the row of `item_activity` in Feast's online store, as serialized values."""

from collections.abc import Sequence
from functools import lru_cache

from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import DoubleList, Value

from streaming import wire
from streaming.popularity import UNUSED, Popularity
from streaming.stores.port import NO_ROW

VIEW = "item_activity"
FEATURES = (
    "item_event_count",
    "popularity",
    "item_last_event_ms",
    "source_partitions",
    "source_offsets",
    "source_counts",
    "source_masses",
    "source_last_ms",
)
_MILLISECOND_NS = 1_000_000


@lru_cache(maxsize=1 << 16)
def entity_key(item_id: str) -> bytes:
    """Feast's serialized key of an item."""
    key = EntityKey(join_keys=["item_id"], entity_values=[Value(string_val=item_id)])
    serialized: bytes = serialize_entity_key(key, entity_key_serialization_version=3)
    return serialized


def values(popularity: Popularity, half_life_days: float) -> list[bytes]:
    """The row, in the order of `FEATURES`."""
    return [
        wire.int64(popularity.event_count),
        wire.double(popularity.mass(half_life_days)),
        wire.int64(popularity.last_event_ms),
        wire.int64s(popularity.sources),
        wire.int64s(popularity.offsets),
        wire.int64s(popularity.counts),
        Value(double_list_val=DoubleList(val=popularity.masses)).SerializeToString(),
        wire.int64s(popularity.last_ms),
    ]


def read(raw: Sequence[bytes | None]) -> Popularity:
    """The popularity in a row, in the order of `FEATURES`; an empty one where there is none."""
    if raw[3] is None:
        return UNUSED
    sources, offsets, counts, masses, last_ms = (Value.FromString(value or b"") for value in raw[3:])
    return Popularity(
        tuple(sources.int64_list_val.val),
        tuple(offsets.int64_list_val.val),
        tuple(counts.int64_list_val.val),
        tuple(masses.double_list_val.val),
        tuple(last_ms.int64_list_val.val),
    )


def guard(popularity: Popularity) -> tuple[bytes, bytes]:
    """The stored values of a row's position, as `stores.port.Write.expected` wants them."""
    if not popularity.sources:
        return NO_ROW
    return wire.int64s(popularity.sources), wire.int64s(popularity.offsets)


def written_at_ns(popularity: Popularity) -> int:
    """When a row was true, nanoseconds since the epoch, made strictly later by every event that counts."""
    return popularity.last_event_ms * _MILLISECOND_NS + popularity.event_count
