"""Profiles ↔ Arrow tables: the rows of the offline store, the profile as it was after each event."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_repo.catalogue import Catalogue
from streaming.declaration import sub_millisecond
from streaming.packed import DOUBLE_BYTES, TIME_BYTES
from streaming.profile import Activity, Attributes
from streaming.row import ATTRIBUTES_VIEW, COLUMNS, Kind, feature_names


def activity_table(users: Sequence[str], rows: Sequence[Activity], schema: pa.Schema) -> pa.Table:
    """Offline rows of `user_activity`, one for each of `users`."""
    columns = {"user_id": pa.array(users, pa.string())}
    for feature, field, kind in COLUMNS:
        dtype = schema.field(feature).type
        if field in _BODIES:
            packed, width, unpack = _BODIES[field]
            bodies = [getattr(row, packed) for row in rows]
            lengths = [len(body) // width for body in bodies]
            columns[feature] = _lists(lengths, pa.array(unpack(b"".join(bodies))), dtype)
        else:
            columns[feature] = _column([getattr(row, field) for row in rows], kind, dtype)
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
    for feature, vectors in (
        ("source_partitions", [row.sources for row in rows]),
        ("source_offsets", [row.offsets for row in rows]),
    ):
        columns[feature] = _column(vectors, "ints", schema.field(feature).type)
    return _with_times(columns, [row.signed_up_ms or 0 for row in rows], rows, schema)


def activities(table: pa.Table) -> list[Activity]:
    """The rows of `activity_table`, read back."""
    fields = [field for _, field, _ in COLUMNS]
    columns = [table.column(feature).to_pylist() for feature, _, _ in COLUMNS]
    return [Activity.of(**dict(zip(fields, cells, strict=True))) for cells in zip(*columns, strict=True)]


def attributes(table: pa.Table, catalogue: Catalogue) -> list[Attributes]:
    """The rows of `attribute_table`, read back."""
    signed_up, *rest = (
        table.column(name).to_pylist() for name in feature_names(ATTRIBUTES_VIEW, catalogue)
    )
    *declared, sources, offsets = rest
    values = zip(*declared, strict=True) if declared else [()] * len(signed_up)
    return [
        Attributes(at, tuple(row), tuple(source), tuple(offset))
        for at, row, source, offset in zip(signed_up, values, sources, offsets, strict=True)
    ]


def _with_times(
    columns: Mapping[str, pa.Array],
    times_ms: list[int],
    rows: Sequence[Activity] | Sequence[Attributes],
    schema: pa.Schema,
) -> pa.Table:
    """A point-in-time join takes the latest `event_timestamp`, then the latest `created_timestamp`.

    The latter counts the user's events in microseconds, the finest that Feast joins by; it is no
    clock: a replay writes the same rows.
    """
    stamp = schema.field("event_timestamp").type
    order = [row.event_count if isinstance(row, Activity) else sub_millisecond(row) for row in rows]
    created = [time * 1000 + number for time, number in zip(times_ms, order, strict=True)]
    timed = {
        **columns,
        "event_timestamp": pa.array([time * 1000 for time in times_ms], pa.int64()).cast(stamp),
        "created_timestamp": pa.array(created, pa.int64()).cast(stamp),
    }
    return pa.table([timed[name] for name in schema.names], schema=schema)


def _column(cells: list[Any], kind: Kind, dtype: pa.DataType) -> pa.Array:
    if kind in ("int", "time", "float", "bytes"):
        return pa.array(cells, dtype)
    flat = pa.array(list(chain.from_iterable(cells)), dtype.value_type)
    return _lists(list(map(len, cells)), flat, dtype)


def _lists(lengths: list[int], flat: pa.Array, dtype: pa.DataType) -> pa.Array:
    """Flat values cut into lists: several times faster than an array of tuples."""
    offsets = pa.array([0, *accumulate(lengths)], pa.int32())
    return pa.ListArray.from_arrays(offsets, flat, type=dtype)


def _doubles(body: bytes) -> npt.NDArray[np.float64]:
    return np.frombuffer(body, "<f8")


def _times(body: bytes) -> npt.NDArray[np.int64]:
    groups = np.frombuffer(body, np.uint8).reshape(-1, TIME_BYTES).astype(np.int64) & 0x7F
    times: npt.NDArray[np.int64] = (groups << np.arange(0, 7 * TIME_BYTES, 7)).sum(axis=1)
    return times


# Vectors that are unpacked for all rows at once: where they are packed, bytes a number, and how.
_BODIES: dict[str, tuple[str, int, Callable[[bytes], npt.NDArray[Any]]]] = {
    "affinity": ("packed_affinity", DOUBLE_BYTES, _doubles),
    "recent_weights": ("packed_weights", DOUBLE_BYTES, _doubles),
    "recent_times_ms": ("packed_times", TIME_BYTES, _times),
}
