"""Profile ↔ Feast's rows: protobuf values online, Arrow columns offline, one place for both layouts."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import accumulate, chain
from typing import Any, Literal

import pyarrow as pa
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import DoubleList, Int64List, StringList, Value

from feature_repo.catalogue import Catalogue
from streaming.errors import SinkError
from streaming.event import EPOCH
from streaming.fold import sub_millisecond
from streaming.profile import Activity, Attributes

ACTIVITY_VIEW = "user_activity"
ATTRIBUTES_VIEW = "user_attributes"
ACTIVITY_FEATURES = Activity.__struct_fields__

_Kind = Literal["int", "float", "ints", "floats", "strings"]
_KINDS: dict[str, _Kind] = {
    "event_count": "int",
    "type_counts": "ints",
    "value_count": "int",
    "value_sum": "float",
    "first_event_ms": "int",
    "last_event_ms": "int",
    "affinity": "floats",
    "recent_items": "strings",
    "recent_weights": "floats",
    "recent_times_ms": "ints",
    "recent_event_ids": "strings",
    "sources": "ints",
    "offsets": "ints",
}
# The feature that holds a field, where their names differ.
_FEATURE = {"sources": "source_partitions", "offsets": "source_offsets"}
_NULL = Value()
_COLUMNS = [(_FEATURE.get(name, name), name, _KINDS[name]) for name in ACTIVITY_FEATURES]


def entity_key(user_id: str) -> EntityKey:
    """Feast's key of a user."""
    return EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user_id)])


def written_at(row: Activity | Attributes) -> datetime:
    """When a row was true, made strictly later by every change.

    A store that drops a row of an equal timestamp would lose the second of two events in one
    millisecond, or a late one; the count of events, as microseconds, tells them apart.
    """
    if isinstance(row, Activity):
        return EPOCH + timedelta(milliseconds=row.last_event_ms, microseconds=row.event_count)
    return EPOCH + timedelta(milliseconds=row.signed_up_ms, microseconds=sub_millisecond(row))


def activity_values(activity: Activity) -> dict[str, Value]:
    """The row of `user_activity`, feature by feature."""
    return {feature: _value(getattr(activity, field), kind) for feature, field, kind in _COLUMNS}


def read_activity(values: Mapping[str, Value] | None) -> Activity | None:
    """The activity in a row, None where the user has none."""
    if not values or values["event_count"].int64_val == 0:
        return None
    return Activity(*(_plain(values[feature], kind) for feature, _, kind in _COLUMNS))


def attribute_values(attributes: Attributes, catalogue: Catalogue) -> dict[str, Value]:
    """The row of `user_attributes`; what was not declared is a null."""
    row = {"signed_up_ms": Value(int64_val=attributes.signed_up_ms)}
    for attribute, value in zip(catalogue.attributes, attributes.values, strict=True):
        if value is None:
            row[attribute.name] = Value()
        elif isinstance(value, str):
            row[attribute.name] = Value(string_val=value)
        else:
            row[attribute.name] = Value(double_val=value)
    return row


def read_attributes(values: Mapping[str, Value] | None, catalogue: Catalogue) -> Attributes | None:
    """The attributes in a row, None where the user declared none."""
    if not values or values["signed_up_ms"].WhichOneof("val") is None:
        return None
    declared = []
    for attribute in catalogue.attributes:
        # An attribute that joined the catalogue later is absent from older rows.
        value = values.get(attribute.name, _NULL)
        kind = value.WhichOneof("val")
        declared.append(getattr(value, kind) if kind else None)
    return Attributes(values["signed_up_ms"].int64_val, tuple(declared))


def check_width(user_id: str, activity: Activity, catalogue: Catalogue) -> None:
    """Refuse to fold on a row of another catalogue.

    Raises:
        SinkError: the row's vectors have other widths than the catalogue's.
    """
    for name, found, expected in (
        ("affinity", len(activity.affinity), len(catalogue.categories)),
        ("type_counts", len(activity.type_counts), len(catalogue.event_types)),
    ):
        if found != expected:
            raise SinkError(
                f"user_activity.{name} of user {user_id!r} is {found} wide, the catalogue's {expected}: "
                "the row is of another catalogue; fold its events into a new workspace"
            )


def feature_names(view: str, catalogue: Catalogue) -> list[str]:
    """A fresh list of a view's features: some stores write into the one they are given."""
    if view == ACTIVITY_VIEW:
        return [feature for feature, _, _ in _COLUMNS]
    return ["signed_up_ms", *(attribute.name for attribute in catalogue.attributes)]


def activity_table(users: Sequence[str], rows: Sequence[Activity], schema: pa.Schema) -> pa.Table:
    """Offline rows of `user_activity`, one for each of `users`."""
    columns = {"user_id": pa.array(users, pa.string())}
    for feature, field, kind in _COLUMNS:
        cells = [getattr(row, field) for row in rows]
        columns[feature] = _column(cells, kind, schema.field(feature).type)
    return _with_times(columns, [row.last_event_ms for row in rows], rows, schema)


def attribute_table(
    users: Sequence[str], rows: Sequence[Attributes], catalogue: Catalogue, schema: pa.Schema
) -> pa.Table:
    """Offline rows of `user_attributes`, one for each of `users`."""
    columns = {
        "user_id": pa.array(users, pa.string()),
        "signed_up_ms": pa.array([row.signed_up_ms for row in rows], pa.int64()),
    }
    for index, attribute in enumerate(catalogue.attributes):
        cells = [row.values[index] for row in rows]
        columns[attribute.name] = pa.array(cells, schema.field(attribute.name).type)
    return _with_times(columns, [row.signed_up_ms for row in rows], rows, schema)


def _with_times(
    columns: dict[str, pa.Array],
    times_ms: list[int],
    rows: Sequence[Activity] | Sequence[Attributes],
    schema: pa.Schema,
) -> pa.Table:
    """A point-in-time join takes the latest `event_timestamp`, then the latest `created_timestamp`.

    The latter is the online row's own timestamp, not a clock: a replay writes the same rows.
    """
    stamp = schema.field("event_timestamp").type
    columns["event_timestamp"] = pa.array([time * 1000 for time in times_ms], pa.int64()).cast(stamp)
    micro = timedelta(microseconds=1)
    created = [(written_at(row) - EPOCH) // micro for row in rows]
    columns["created_timestamp"] = pa.array(created, pa.int64()).cast(stamp)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _column(cells: list[Any], kind: _Kind, dtype: pa.DataType) -> pa.Array:
    if kind in ("int", "float"):
        return pa.array(cells, dtype)
    # Flat values and offsets: several times faster than an array of tuples.
    offsets = pa.array([0, *accumulate(map(len, cells))], pa.int32())
    flat = pa.array(list(chain.from_iterable(cells)), dtype.value_type)
    return pa.ListArray.from_arrays(offsets, flat, type=dtype)


def _value(cell: Any, kind: _Kind) -> Value:
    if kind == "int":
        return Value(int64_val=cell)
    if kind == "float":
        return Value(double_val=cell)
    if kind == "ints":
        return Value(int64_list_val=Int64List(val=cell))
    if kind == "floats":
        return Value(double_list_val=DoubleList(val=cell))
    return Value(string_list_val=StringList(val=cell))


def _plain(value: Value, kind: _Kind) -> Any:
    if kind == "int":
        return value.int64_val
    if kind == "float":
        return value.double_val
    if kind == "ints":
        return tuple(value.int64_list_val.val)
    if kind == "floats":
        return tuple(value.double_list_val.val)
    return tuple(value.string_list_val.val)
