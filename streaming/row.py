"""Profile ↔ the rows of Feast's online store, as serialized values."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from feast.protos.feast.types.Value_pb2 import Value

from feature_repo.catalogue import Catalogue
from streaming import wire
from streaming.declaration import sub_millisecond
from streaming.errors import LayoutError
from streaming.profile import Activity, Attributes
from streaming.stores.port import GUARD_FEATURES, NO_ROW

ACTIVITY_VIEW = "user_activity"
ATTRIBUTES_VIEW = "user_attributes"

Kind = Literal["int", "time", "float", "bytes", "ints", "tally", "floats", "strings", "times"]
# Feature of `user_activity`, the property that holds it, and its kind, in the order of the row.
COLUMNS: list[tuple[str, str, Kind]] = [
    ("event_count", "event_count", "int"),
    ("type_counts", "type_counts", "tally"),
    ("value_count", "value_count", "int"),
    ("value_sum", "value_sum", "float"),
    ("first_event_ms", "first_event_ms", "time"),
    ("last_event_ms", "last_event_ms", "time"),
    ("affinity", "affinity", "floats"),
    ("recent_items", "recent_items", "strings"),
    ("recent_weights", "recent_weights", "floats"),
    ("recent_times_ms", "recent_times_ms", "times"),
    ("older_starts_ms", "older_starts_ms", "tally"),
    ("older_counts", "older_counts", "tally"),
    ("seen_events", "seen", "bytes"),
    ("source_partitions", "sources", "tally"),
    ("source_offsets", "offsets", "ints"),
]
_READERS: dict[Kind, Callable[[bytes], Any]] = {
    "int": wire.read_int64,
    "time": wire.read_time,
    "float": wire.read_double,
    "bytes": wire.read_octets,
    "ints": wire.read_int64s,
    "tally": wire.read_tally,
    "floats": wire.read_doubles,
    "strings": wire.read_strings,
    "times": wire.read_times,
}
_COLUMN_READERS = [_READERS[kind] for _, _, kind in COLUMNS]
_MILLISECOND_NS = 1_000_000


def written_at_ns(row: Activity | Attributes) -> int:
    """When a row was true, in nanoseconds since the epoch, made strictly later by every change of it.

    A reader that keeps only the newest would lose the second of two events in one millisecond, or a
    late one; the count of events, as nanoseconds, tells them apart.
    """
    if isinstance(row, Activity):
        return row.last_event_ms * _MILLISECOND_NS + row.event_count
    return (row.signed_up_ms or 0) * _MILLISECOND_NS + sub_millisecond(row)


def guard(row: Activity | Attributes | None) -> tuple[bytes, bytes]:
    """The stored values of a row's position, as `stores.port.Write.expected` wants them."""
    return NO_ROW if row is None else (wire.tally(row.sources), wire.int64s(row.offsets))


def activity_values(activity: Activity) -> list[bytes]:
    """The row of `user_activity`, serialized, in the order of `feature_names`."""
    times = activity.packed_times
    return [
        wire.int64(activity.event_count),
        wire.tally(activity.type_counts),
        wire.int64(activity.value_count),
        wire.double(activity.value_sum),
        wire.time(activity.first_event_ms),
        wire.newest(times) if times else wire.time(activity.last_event_ms),
        wire.doubles(activity.packed_affinity),
        wire.strings(activity.packed_items),
        wire.doubles(activity.packed_weights),
        wire.times(times),
        wire.int64s(activity.older_starts_ms),
        wire.int64s(activity.older_counts),
        wire.octets(activity.seen),
        wire.tally(activity.sources),
        wire.int64s(activity.offsets),
    ]


def read_activity(values: Sequence[bytes | None]) -> Activity | None:
    """The activity in a row, None where the user has none; in the order of `feature_names`."""
    if values[0] is None:
        return None
    cells = zip(_COLUMN_READERS, values, strict=True)
    return Activity(*[read(raw or wire.NULL) for read, raw in cells])


def attribute_values(attributes: Attributes) -> list[bytes]:
    """The row of `user_attributes`, serialized, in the order of `feature_names`; nulls where nothing is."""
    signed_up = attributes.signed_up_ms
    return [
        wire.NULL if signed_up is None else wire.int64(signed_up),
        *(_scalar(value) for value in attributes.values),
        wire.int64s(attributes.sources),
        wire.int64s(attributes.offsets),
    ]


def read_attributes(values: Sequence[bytes | None]) -> Attributes | None:
    """The attributes in a row, None where the user never signed up; in the order of `feature_names`.

    An attribute that joined the catalogue later is absent from older rows, and read as a null.
    """
    if all(raw is None for raw in values):
        return None
    signed_up, *declared = [Value.FromString(raw or b"") for raw in values]
    sources, offsets = declared.pop(-2), declared.pop(-1)
    kinds = [value.WhichOneof("val") for value in declared]
    return Attributes(
        signed_up.int64_val if signed_up.WhichOneof("val") else None,
        tuple(getattr(value, kind) if kind else None for value, kind in zip(declared, kinds, strict=True)),
        tuple(sources.int64_list_val.val),
        tuple(offsets.int64_list_val.val),
    )


def check_width(user_id: str, activity: Activity, catalogue: Catalogue) -> None:
    """Refuse to fold on a row of another catalogue.

    Raises:
        LayoutError: the row's vectors have other widths than the catalogue's.
    """
    for name, found, expected in (
        ("affinity", len(activity.affinity), len(catalogue.categories)),
        ("type_counts", len(activity.type_counts), len(catalogue.event_types)),
    ):
        if found != expected:
            raise LayoutError(
                f"user_activity.{name} of user {user_id!r} is {found} wide, the catalogue's {expected}: "
                "the row is of another catalogue; fold its events into a new workspace"
            )


def feature_names(view: str, catalogue: Catalogue) -> list[str]:
    """A fresh list of a view's features: some stores write into the one they are given."""
    if view == ACTIVITY_VIEW:
        return [feature for feature, _, _ in COLUMNS]
    return ["signed_up_ms", *(attribute.name for attribute in catalogue.attributes), *GUARD_FEATURES]


def _scalar(value: str | float | None) -> bytes:
    if value is None:
        return wire.NULL
    return wire.string(value) if isinstance(value, str) else wire.double(value)
