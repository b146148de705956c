"""Profiles ↔ Arrow tables: the rows of the offline store, the profile as it was after each event."""

from collections.abc import Mapping, Sequence
from itertools import accumulate, chain
from typing import Any

import pyarrow as pa

from feature_repo.catalogue import Catalogue
from streaming.fold import sub_millisecond
from streaming.profile import Activity, Attributes
from streaming.row import ATTRIBUTES_VIEW, COLUMNS, Kind, feature_names


def activity_table(users: Sequence[str], rows: Sequence[Activity], schema: pa.Schema) -> pa.Table:
    """Offline rows of `user_activity`, one for each of `users`."""
    columns = {"user_id": pa.array(users, pa.string())}
    for feature, field, kind in COLUMNS:
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
    for feature, vectors in (
        ("source_partitions", [row.sources for row in rows]),
        ("source_offsets", [row.offsets for row in rows]),
    ):
        columns[feature] = _column(vectors, "ints", schema.field(feature).type)
    return _with_times(columns, [row.signed_up_ms or 0 for row in rows], rows, schema)


def activities(table: pa.Table) -> list[Activity]:
    """The rows of `activity_table`, read back."""
    columns: list[list[Any]] = [
        [tuple(cell) for cell in cells] if kind in ("ints", "floats", "strings") else cells
        for _, kind, cells in ((name, kind, table.column(name).to_pylist()) for name, _, kind in COLUMNS)
    ]
    return [Activity(*cells) for cells in zip(*columns, strict=True)]


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
    if kind in ("int", "float", "bytes"):
        return pa.array(cells, dtype)
    # Flat values and offsets: several times faster than an array of tuples.
    offsets = pa.array([0, *accumulate(map(len, cells))], pa.int32())
    flat = pa.array(list(chain.from_iterable(cells)), dtype.value_type)
    return pa.ListArray.from_arrays(offsets, flat, type=dtype)
