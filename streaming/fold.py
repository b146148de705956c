"""(profile, event) → profile: pure, and indifferent to the order of events.

Sums, counts, minima, maxima and the newest N commute as they are, and what is not among the newest N
is counted in buckets that depend on time alone. The decayed affinity commutes because it is kept
relative to the latest event: an older one arrives already decayed by its age.
"""

from enum import Enum
from math import exp2
from struct import Struct
from zlib import crc32

import mmh3
import msgspec

from feature_repo.catalogue import Catalogue, Items
from feature_repo.windows import coarsen, push_out
from streaming import packed
from streaming.event import SIGNUP, UserEvent
from streaming.position import Position, advance, is_folded
from streaming.profile import Activity, Attributes, Profile

_DAY_MS = 86_400_000
_HASH_BYTES = 8
SEEN_EVENTS = 64

_pack_double, _unpack_double = Struct("<d").pack, Struct("<d").unpack_from


class Outcome(Enum):
    """What is to be done with an event."""

    FOLD = "fold"
    REPLAYED = "replayed"
    DUPLICATE = "duplicate"
    LATE = "late"


class Fold:
    """Folds events of one catalogue."""

    def __init__(self, catalogue: Catalogue, items: Items) -> None:
        self._half_life_ms = catalogue.half_life_days * _DAY_MS
        self._lateness_ms = catalogue.lateness_days * _DAY_MS
        self._recent_length = catalogue.recent_length
        self._weight = catalogue.event_weight
        self._type_index = {name: index for index, name in enumerate(catalogue.event_types)}
        # As it is packed among the recent ones, and its categories.
        self._items = {
            item: (packed.pack_text(item), categories)
            for item, categories in zip(items.ids, items.categories, strict=True)
        }
        masses = Struct(f"<{len(catalogue.categories)}d")
        self._pack_affinity, self._unpack_affinity = masses.pack, masses.unpack
        self._attributes = [(attribute.name, attribute.kind) for attribute in catalogue.attributes]
        self._idle = idle(catalogue)
        self._silent = Attributes(None, (None,) * len(catalogue.attributes))

    def judge(self, profile: Profile, event: UserEvent, at: Position) -> Outcome:
        """Whether `event`, read at `at`, is to be folded into `profile`, or why not.

        A duplicate is an event whose id is among the last 64 of its user: a producer that sends
        again what it does not know to have arrived. Late is what is older than the user's newest
        event by more than the catalogue's bound.
        """
        if event.type == SIGNUP:
            return Outcome.REPLAYED if is_folded(profile.attributes, at) else Outcome.FOLD
        activity = profile.activity
        if activity is None:
            return Outcome.FOLD
        if is_folded(activity, at):
            return Outcome.REPLAYED
        if _is_seen(activity.seen, event.event_id):
            return Outcome.DUPLICATE
        if event.time_ms < activity.last_event_ms - self._lateness_ms:
            return Outcome.LATE
        return Outcome.FOLD

    def __call__(self, profile: Profile, event: UserEvent, at: Position | None = None) -> Profile:
        """The profile after `event`; with `at`, it remembers that the event is part of it.

        An event of a type or item outside the catalogue is an error of the caller's: decoding
        refuses those.
        """
        if event.type == SIGNUP:
            return Profile(profile.activity, self._declare(profile.attributes or self._silent, event, at))
        return Profile(self._act(profile.activity or self._idle, event, at), profile.attributes)

    def _declare(self, before: Attributes, event: UserEvent, at: Position | None) -> Attributes:
        given = event.attributes or {}
        values = tuple(_typed(given.get(name), kind) for name, kind in self._attributes)
        latest = max(before, Attributes(event.time_ms, values), key=_rank)
        if at is None:
            return latest
        sources, offsets = advance(before.sources, before.offsets, at)
        return Attributes(latest.signed_up_ms, latest.values, sources, offsets)

    def _act(self, before: Activity, event: UserEvent, at: Position | None) -> Activity:
        time, value, item_id = event.time_ms, event.value, event.item_id or ""
        item, categories = self._items[item_id]
        weight = self._weight(event.type, value)
        first = before.event_count == 0
        newest = before.last_event_ms
        last = time if first or time > newest else newest

        masses = self._unpack_affinity(before.packed_affinity)
        if last > newest and not first:
            kept = exp2((newest - last) / self._half_life_ms)
            affinity = [mass * kept for mass in masses]
        else:
            affinity = list(masses)
        if categories:
            share = weight / len(categories)
            if time < last:
                share *= exp2((time - last) / self._half_life_ms)
            for category in categories:
                affinity[category] += share

        items, weights, times = before.packed_items, before.packed_weights, before.packed_times
        starts, older = before.older_starts_ms, before.older_counts
        cut = self._recent_length - 1
        # A newer event stands first; only among older ones must its place be looked for.
        place = 0 if first or time > newest else _place(before, time, item_id, weight)
        if starts and last > newest:
            starts, older = coarsen(starts, older, last)
        if len(items) > cut:
            pushed = time if place > cut else packed.unpack_time(times, cut)
            starts, older = push_out(starts, older, last, pushed)
        if place <= cut:
            items = (*items[:place], item, *items[place:cut])
            weights = _inserted(weights, place, cut, _pack_double(weight), packed.DOUBLE_BYTES)
            times = _inserted(times, place, cut, packed.pack_time(time), packed.TIME_BYTES)

        counts, kind = before.type_counts, self._type_index[event.type]
        sources, offsets = before.sources, before.offsets
        if at is not None:
            sources, offsets = advance(sources, offsets, at)
        # By position: a keyword for each field takes three times as long.
        return Activity(
            before.event_count + 1,
            (*counts[:kind], counts[kind] + 1, *counts[kind + 1 :]),
            before.value_count if value is None else before.value_count + 1,
            before.value_sum if value is None else before.value_sum + value,
            time if first or time < before.first_event_ms else before.first_event_ms,
            last,
            self._pack_affinity(*affinity),
            items,
            weights,
            times,
            starts,
            older,
            _hash(event.event_id) + before.seen[: (SEEN_EVENTS - 1) * _HASH_BYTES],
            sources,
            offsets,
        )


def idle(catalogue: Catalogue) -> Activity:
    """The activity of a user who has done nothing."""
    types, categories = len(catalogue.event_types), len(catalogue.categories)
    nothing = packed.pack_doubles((0.0,) * categories)
    return Activity(0, (0,) * types, 0, 0.0, 0, 0, nothing, (), b"", b"", (), (), b"", (), ())


def _hash(event_id: str) -> bytes:
    return mmh3.mmh3_x64_128_digest(event_id.encode())[:_HASH_BYTES]


def _is_seen(seen: bytes, event_id: str) -> bool:
    wanted = _hash(event_id)
    at = seen.find(wanted)
    while at % _HASH_BYTES and at > 0:  # across the border of two hashes
        at = seen.find(wanted, at + 1)
    return at >= 0


def _inserted(body: bytes, place: int, cut: int, new: bytes, width: int) -> bytes:
    """`new` at `place` among fields of `width` bytes, of which `cut` others are kept."""
    if place == 0:
        return new + body[: cut * width]
    return body[: place * width] + new + body[place * width : cut * width]


def _place(before: Activity, time: int, item: str, weight: float) -> int:
    """Where an event stands among the recent ones, newest first."""
    for place, element in enumerate(before.packed_items):
        other = packed.unpack_time(before.packed_times, place)
        if time > other:
            return place
        if time == other:
            (other_weight,) = _unpack_double(before.packed_weights, place * packed.DOUBLE_BYTES)
            if (item, weight) > (packed.unpack_text(element), other_weight):
                return place
    return len(before.packed_items)


def _typed(value: str | float | None, kind: str) -> str | float | None:
    """As the feature's type wants it: text for a category, a number for a number."""
    if value is None or kind == "number":
        return value
    return value if isinstance(value, str) else f"{value:g}"


def sub_millisecond(attributes: Attributes) -> int:
    """0..999, from what was declared: orders two sign-ups of the same millisecond, in any store."""
    return crc32(msgspec.json.encode(attributes.values)) % 1000


def _rank(attributes: Attributes) -> tuple[int, int, bytes]:
    if attributes.signed_up_ms is None:
        return -1, 0, b""
    return attributes.signed_up_ms, sub_millisecond(attributes), msgspec.json.encode(attributes.values)
