"""The profile that folding keeps of a user: what the two observed feature views hold, as frozen values."""

import msgspec


class Activity(msgspec.Struct, frozen=True, gc=False):
    """What a user did: the row of `user_activity`.

    Attributes:
        affinity: event weight by category, decayed to `last_event_ms`.
        recent_items, recent_weights, recent_times_ms: the newest events, newest first; those of one
            millisecond in descending order of item and weight.
        older_starts_ms, older_counts: all other events, counted in buckets of time, oldest first.
        seen: hashes, of 8 bytes each, of the ids of the events folded last, the last one first.
        sources, offsets: which events are folded in: all up to this offset of that source.
    """

    event_count: int
    type_counts: tuple[int, ...]
    value_count: int
    value_sum: float
    first_event_ms: int
    last_event_ms: int
    affinity: tuple[float, ...]
    recent_items: tuple[str, ...]
    recent_weights: tuple[float, ...]
    recent_times_ms: tuple[int, ...]
    older_starts_ms: tuple[int, ...]
    older_counts: tuple[int, ...]
    seen: bytes
    sources: tuple[int, ...]
    offsets: tuple[int, ...]


class Attributes(msgspec.Struct, frozen=True, gc=False):
    """What a user declared: the row of `user_attributes`, values in the catalogue's order.

    Attributes:
        signed_up_ms: None where only the position is known: nothing declared, or no more.
        sources, offsets: as in `Activity`, of sign-ups.
    """

    signed_up_ms: int | None
    values: tuple[str | float | None, ...]
    sources: tuple[int, ...] = ()
    offsets: tuple[int, ...] = ()


class Profile(msgspec.Struct, frozen=True, gc=False):
    """All that is observed of one user; either half is None until something is known."""

    activity: Activity | None = None
    attributes: Attributes | None = None


UNKNOWN = Profile()
