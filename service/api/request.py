"""Request → sparse profiles: what the caller sent, checked field by field."""

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from feature_repo.catalogue import Catalogue, Items
from kindling.v1 import augment_pb2 as pb
from models.schema import BLOCKS, PastEvent, SparseProfile, Tensors, TensorSchema, sparse_profile
from service.call import Priority
from service.errors import InvalidField, ModelUnavailable

MAX_ID_BYTES = 256
MAX_EVENTS = 1_000
MAX_ROWS = 4_096

# Rungs as the wire names them and as bundles do.
RUNG_NAMES: Mapping[pb.Rung.ValueType, str] = {
    pb.RUNG_OBSERVED: "observed",
    pb.RUNG_GENERATOR: "generator",
    pb.RUNG_STUDENT: "student",
    pb.RUNG_SEGMENT_PRIOR: "segment_prior",
    pb.RUNG_GLOBAL_PRIOR: "global_prior",
}

BLOCK_NAMES: Mapping[pb.Block.ValueType, str] = {
    pb.BLOCK_AFFINITY: "affinity",
    pb.BLOCK_EMBEDDING: "embedding",
    pb.BLOCK_VIRTUAL_ITEMS: "virtual_items",
}
PRIORITY_NAMES: Mapping[pb.Priority.ValueType, Priority] = {
    pb.PRIORITY_INTERACTIVE: "interactive",
    pb.PRIORITY_BULK: "bulk",
}

_ANY_RUNG: frozenset[str] = frozenset()


def check_user_id(user_id: str, field: str) -> str:
    """`user_id`, if it can be a key of the store."""
    if not user_id:
        raise InvalidField(field, "is empty: send the id of a user")
    if len(user_id.encode()) > MAX_ID_BYTES:
        raise InvalidField(field, f"is longer than {MAX_ID_BYTES} bytes: send the id of a user")
    return user_id


def check_user_ids(user_ids: Sequence[str], field: str = "users.user_ids") -> list[str]:
    """The ids of a batch."""
    if not user_ids:
        raise InvalidField(field, "is empty: send at least one id")
    if len(user_ids) > MAX_ROWS:
        raise InvalidField(field, f"has over {MAX_ROWS} ids: split the batch")
    return [check_user_id(user_id, f"{field}[{row}]") for row, user_id in enumerate(user_ids)]


def allowed_rungs(rungs: Sequence[pb.Rung.ValueType]) -> frozenset[str]:
    """Names of the rungs that may answer; empty means all."""
    if not rungs:
        return _ANY_RUNG
    names = set()
    for position, rung in enumerate(rungs):
        if rung not in RUNG_NAMES:
            raise InvalidField(f"allowed_rungs[{position}]", f"{rung} is not a rung of kindling.v1.Rung")
        names.add(RUNG_NAMES[rung])
    return frozenset(names)


def wanted_blocks(blocks: Sequence[pb.Block.ValueType], field: str = "blocks") -> Collection[str]:
    """Names of the blocks to answer with; all if none is named."""
    if not blocks:
        return BLOCKS
    names: set[str] = set()
    for position, block in enumerate(blocks):
        if block not in BLOCK_NAMES:
            raise InvalidField(f"{field}[{position}]", f"{block} is not a block of kindling.v1.Block")
        names.add(BLOCK_NAMES[block])
    return frozenset(names)


def priority_of(priority: pb.Priority.ValueType, default: Priority) -> Priority:
    """Who goes first, as the caller says or as the call usually does."""
    if not priority:
        return default
    if priority not in PRIORITY_NAMES:
        raise InvalidField("priority", f"{priority} is not a priority of kindling.v1.Priority")
    return PRIORITY_NAMES[priority]


def inline_profile(profile: pb.Profile, catalogue: Catalogue, items: Items) -> SparseProfile:
    """The sparse profile of a `Profile` message."""
    known = {attribute.name for attribute in catalogue.attributes}
    attributes: dict[str, str | float | None] = {}
    for position, attribute in enumerate(profile.attributes):
        if attribute.name not in known:
            expected = ", ".join(sorted(known)) or "none: this catalogue has no attributes"
            raise InvalidField(
                f"profile.attributes[{position}].name", f"{attribute.name!r} is not one of {expected}"
            )
        attributes[attribute.name] = attribute.value
    if len(profile.events) > MAX_EVENTS:
        raise InvalidField("profile.events", f"has over {MAX_EVENTS} events: send the newest")
    events = [_past_event(event, row, catalogue, items) for row, event in enumerate(profile.events)]
    return sparse_profile(events, attributes, catalogue, items)


def _past_event(event: pb.Event, row: int, catalogue: Catalogue, items: Items) -> PastEvent:
    field = f"profile.events[{row}]"
    if event.item_id not in items.index:
        raise InvalidField(f"{field}.item_id", f"{event.item_id!r} is not in the catalogue")
    event_type = event.type or next(iter(catalogue.event_types))
    if event_type not in catalogue.event_types:
        expected = ", ".join(catalogue.event_types)
        raise InvalidField(f"{field}.type", f"{event_type!r} is not one of {expected}")
    if event.event_time_ms <= 0:
        raise InvalidField(f"{field}.event_time_ms", "is not set: send milliseconds since the epoch")
    value = event.value if event.HasField("value") else None
    if value is not None and not math.isfinite(value):
        raise InvalidField(f"{field}.value", "is not a finite number")
    return PastEvent(event.item_id, event_type, value, event.event_time_ms)


def unpack_profiles(packed: pb.PackedProfiles, schema: TensorSchema) -> Tensors:
    """Input tensors of a packed batch, without a copy."""
    if packed.schema_fingerprint != schema.fingerprint:
        raise ModelUnavailable(
            f"profiles.schema_fingerprint: {packed.schema_fingerprint!r} is not the serving model's "
            f"{schema.fingerprint!r}: call DescribeModel and pack the profiles again"
        )
    rows = packed.rows
    if not 1 <= rows <= MAX_ROWS:
        raise InvalidField("profiles.rows", f"is {rows}: send 1 to {MAX_ROWS} profiles")
    tensors: Tensors = {}
    for spec in schema.inputs:
        data: bytes = getattr(packed, spec.name)
        dtype = np.dtype(spec.dtype).newbyteorder("<")
        width = spec.width
        expected = rows * width * dtype.itemsize
        if len(data) != expected:
            raise InvalidField(
                f"profiles.{spec.name}",
                f"has {len(data)} bytes: {rows} rows of {width} {spec.dtype} are {expected}",
            )
        tensors[spec.name] = np.frombuffer(data, dtype).reshape(rows, width)
    history = tensors["history_items"].astype(np.int64)
    if history.min() < 0 or history.max() > schema.item_count:
        raise InvalidField("profiles.history_items", f"holds an index outside 0..{schema.item_count}")
    for name in ("affinity", "history_weights", "attributes", "count"):
        values = tensors[name].astype(np.float32)
        if not np.isfinite(values).all() or (values < 0).any():
            raise InvalidField(f"profiles.{name}", "holds a value that is negative or not finite")
    return tensors
