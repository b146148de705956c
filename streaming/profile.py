"""The profile that folding keeps of a user: what the two observed feature views hold, as frozen values."""

from collections.abc import Sequence
from typing import Self

import msgspec

from streaming import packed


class Activity(msgspec.Struct, frozen=True, gc=False):
    """What a user did: the row of `user_activity`, its vectors packed as they are stored.

    Attributes:
        packed_affinity: event weight by category, decayed to `last_event_ms`.
        packed_items, packed_weights, packed_times: the newest events, newest first; those of one
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
    packed_affinity: bytes
    packed_items: tuple[bytes, ...]
    packed_weights: bytes
    packed_times: bytes
    older_starts_ms: tuple[int, ...]
    older_counts: tuple[int, ...]
    seen: bytes
    sources: tuple[int, ...]
    offsets: tuple[int, ...]

    @classmethod
    def of(
        cls,
        *,
        event_count: int,
        type_counts: Sequence[int],
        value_count: int,
        value_sum: float,
        first_event_ms: int,
        last_event_ms: int,
        affinity: Sequence[float],
        recent_items: Sequence[str],
        recent_weights: Sequence[float],
        recent_times_ms: Sequence[int],
        older_starts_ms: Sequence[int],
        older_counts: Sequence[int],
        seen: bytes,
        sources: Sequence[int],
        offsets: Sequence[int],
    ) -> Self:
        """The activity with these vectors."""
        return cls(
            event_count,
            tuple(type_counts),
            value_count,
            value_sum,
            first_event_ms,
            last_event_ms,
            packed.pack_doubles(affinity),
            tuple(map(packed.pack_text, recent_items)),
            packed.pack_doubles(recent_weights),
            b"".join(map(packed.pack_time, recent_times_ms)),
            tuple(older_starts_ms),
            tuple(older_counts),
            seen,
            tuple(sources),
            tuple(offsets),
        )

    @property
    def affinity(self) -> tuple[float, ...]:
        """Event weight by category."""
        return packed.unpack_doubles(self.packed_affinity)

    @property
    def recent_items(self) -> tuple[str, ...]:
        """Items of the newest events."""
        return tuple(map(packed.unpack_text, self.packed_items))

    @property
    def recent_weights(self) -> tuple[float, ...]:
        """Their weights, not decayed."""
        return packed.unpack_doubles(self.packed_weights)

    @property
    def recent_times_ms(self) -> tuple[int, ...]:
        """Their times."""
        return packed.unpack_times(self.packed_times)


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
