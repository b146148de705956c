"""The profile that folding keeps of a user: what the two observed feature views hold, as frozen values."""

import msgspec


class Activity(msgspec.Struct, frozen=True):
    """What a user did: the row of `user_activity`.

    `affinity` is the event weight by category, decayed to `last_event_ms`. The `recent_*` run newest
    first. `sources` and `offsets` say, source by source, which events are already folded in.
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
    recent_event_ids: tuple[str, ...]
    sources: tuple[int, ...]
    offsets: tuple[int, ...]


class Attributes(msgspec.Struct, frozen=True):
    """What a user declared: the row of `user_attributes`, values in the catalogue's order."""

    signed_up_ms: int
    values: tuple[str | float | None, ...]


class Profile(msgspec.Struct, frozen=True):
    """All that is observed of one user; either half is None until something is known."""

    activity: Activity | None = None
    attributes: Attributes | None = None


UNKNOWN = Profile()
