"""(profile, event) → profile: pure, and indifferent to the order of events.

Sums, counts, minima, maxima and the newest N commute as they are, and what is not among the newest N
is counted in buckets that depend on time alone. The decayed affinity commutes because it is kept
relative to the latest event: an older one arrives already decayed by its age.
"""

from collections.abc import Sequence
from enum import Enum
from math import exp2
from struct import Struct

from feature_repo.catalogue import Catalogue, Items
from feature_repo.windows import coarsen, push_out
from streaming import packed
from streaming.declaration import declare
from streaming.event import SIGNUP, UserEvent
from streaming.position import Position, advance, is_folded, offset_of
from streaming.profile import Activity, Profile
from streaming.seen import hash_of, is_seen, latest

_DAY_MS = 86_400_000

_pack_double, _unpack_double = Struct("<d").pack, Struct("<d").unpack_from


class Outcome(Enum):
    """What is to be done with an event."""

    FOLD = "fold"
    REPLAYED = "replayed"
    DUPLICATE = "duplicate"
    LATE = "late"


# An event and its offset in the source that it was read from. A plain tuple, for there is one for each.
Placed = tuple[int, UserEvent]


class Fold:
    """Folds events of one catalogue."""

    def __init__(self, catalogue: Catalogue, items: Items) -> None:
        self._half_life_ms = catalogue.half_life_days * _DAY_MS
        self._lateness_ms = catalogue.lateness_days * _DAY_MS
        self._recent_length = catalogue.recent_length
        self._weight = catalogue.event_weight
        # Of each type, its place and what an event of it weighs that has no value.
        self._kinds = {
            name: (index, catalogue.event_weight(name, None))
            for index, name in enumerate(catalogue.event_types)
        }
        # As it is packed among the recent ones, and its categories.
        self._items = {
            item: (packed.pack_text(item), categories)
            for item, categories in zip(items.ids, items.categories, strict=True)
        }
        masses = Struct(f"<{len(catalogue.categories)}d")
        self._pack_affinity, self._unpack_affinity = masses.pack, masses.unpack
        self._attributes = catalogue.attributes
        self._idle = idle(catalogue)

    def judge(self, profile: Profile, event: UserEvent, at: Position) -> Outcome:
        """Whether `event`, read at `at`, is to be folded into `profile`, or why not."""
        _, refused = self.run(profile, at.source, [(at.offset, event)])
        return refused.get(at.offset, Outcome.FOLD)

    def __call__(self, profile: Profile, event: UserEvent, at: Position | None = None) -> Profile:
        """The profile after `event`, not judged; with `at`, it remembers that the event is part of it.

        An event of a type or item outside the catalogue is an error of the caller's: decoding
        refuses those.
        """
        activity, attributes = profile.activity, profile.attributes
        if event.type == SIGNUP:
            return Profile(activity, declare(attributes, event, self._attributes, at))
        before = activity or self._idle
        seen = latest(hash_of(event.event_id) + before.seen)
        sources, offsets = before.sources, before.offsets
        if at is not None:
            sources, offsets = advance(sources, offsets, at)
        return Profile(self._act(before, [(event.time_ms, event)], seen, sources, offsets), attributes)

    def run(
        self, profile: Profile, source: int, events: Sequence[Placed]
    ) -> tuple[Profile, dict[int, Outcome]]:
        """The profile after `events` of its user, in the order in which they were read from `source`.

        A duplicate is an event whose id is among the last 64 of its user: a producer that sends
        again what it does not know to have arrived. Late is what is older than the user's newest
        event by more than the catalogue's bound.

        Returns:
            The profile, the same object where nothing was folded; and by offset, what became of those
            events that were not.
        """
        before, attributes = profile.activity or self._idle, profile.attributes
        seen, newest, upto = before.seen, before.last_event_ms, offset_of(before, source)
        kinds, lateness_ms, folded = self._kinds, self._lateness_ms, []
        refused: dict[int, Outcome] = {}
        for placed in events:
            offset, event = placed
            if event.type not in kinds:
                at = Position(source, offset)
                if is_folded(attributes, at):
                    refused[offset] = Outcome.REPLAYED
                else:
                    attributes = declare(attributes, event, self._attributes, at)
                continue
            time, ident = event.event_time, hash_of(event.event_id)
            if time.__class__ is not int:
                time = event.time_ms
            if offset <= upto:
                refused[offset] = Outcome.REPLAYED
            elif ident in seen and is_seen(seen, ident):
                refused[offset] = Outcome.DUPLICATE
            elif time < newest - lateness_ms:
                refused[offset] = Outcome.LATE
            else:
                newest = time if time > newest else newest
                upto = offset
                seen = ident + seen
                folded.append((time, event))
        if not folded:
            if attributes is profile.attributes:
                return profile, refused
            return Profile(profile.activity, attributes), refused
        sources, offsets = advance(before.sources, before.offsets, Position(source, upto))
        after = self._act(before, folded, latest(seen), sources, offsets)
        return Profile(after, attributes), refused

    def _act(
        self,
        before: Activity,
        events: Sequence[tuple[int, UserEvent]],
        seen: bytes,
        sources: tuple[int, ...],
        offsets: tuple[int, ...],
    ) -> Activity:
        """The activity after events, each with its time, one by one; decayed but once."""
        count, value_count, value_sum = before.event_count, before.value_count, before.value_sum
        first, last = before.first_event_ms, before.last_event_ms
        if not count:
            first = last = events[0][0]
        items, weights, times = before.packed_items, before.packed_weights, before.packed_times
        starts, older = before.older_starts_ms, before.older_counts
        counts, shares = list(before.type_counts), []
        cut = self._recent_length - 1
        for time, event in events:
            value, item_id = event.value, event.item_id or ""
            item, categories = self._items[item_id]
            kind, weight = self._kinds[event.type]
            if value is not None:
                weight = self._weight(event.type, value)
                value_count += 1
                value_sum += value
            count += 1
            counts[kind] += 1
            if categories:
                shares.append((time, weight / len(categories), categories))
            # A newer event stands first; only among older ones must its place be looked for.
            if time > last:
                last, place = time, 0
                if starts:
                    starts, older = coarsen(starts, older, last)
            else:
                place = _place(items, weights, times, time, item_id, weight)
                first = time if time < first else first
            if len(items) > cut:
                pushed = time if place > cut else packed.unpack_time(times, cut)
                starts, older = push_out(starts, older, last, pushed)
            if place == 0:
                items = (item, *items[:cut])
                weights = _pack_double(weight) + weights[: cut * packed.DOUBLE_BYTES]
                times = packed.pack_time(time) + times[: cut * packed.TIME_BYTES]
            elif place <= cut:
                items = (*items[:place], item, *items[place:cut])
                weights = _inserted(weights, place, cut, _pack_double(weight), packed.DOUBLE_BYTES)
                times = _inserted(times, place, cut, packed.pack_time(time), packed.TIME_BYTES)
        # By position: a keyword for each field takes three times as long.
        return Activity(
            count,
            tuple(counts),
            value_count,
            value_sum,
            first,
            last,
            self._decayed(before.packed_affinity, before.last_event_ms, last, shares),
            items,
            weights,
            times,
            starts,
            older,
            seen,
            sources,
            offsets,
        )

    def _decayed(
        self,
        packed_affinity: bytes,
        newest: int,
        last: int,
        shares: Sequence[tuple[int, float, Sequence[int]]],
    ) -> bytes:
        """Masses as of `newest` and later shares of categories, by time, all as of `last`."""
        masses, half_life_ms = self._unpack_affinity(packed_affinity), self._half_life_ms
        kept = exp2((newest - last) / half_life_ms)
        affinity = [mass * kept for mass in masses]
        for time, share, categories in shares:
            weight = share if time == last else share * exp2((time - last) / half_life_ms)
            for category in categories:
                affinity[category] += weight
        return self._pack_affinity(*affinity)


def idle(catalogue: Catalogue) -> Activity:
    """The activity of a user who has done nothing."""
    types, categories = len(catalogue.event_types), len(catalogue.categories)
    nothing = packed.pack_doubles((0.0,) * categories)
    return Activity(0, (0,) * types, 0, 0.0, 0, 0, nothing, (), b"", b"", (), (), b"", (), ())


def _inserted(body: bytes, place: int, cut: int, new: bytes, width: int) -> bytes:
    """`new` at `place` among fields of `width` bytes, of which `cut` others are kept."""
    return body[: place * width] + new + body[place * width : cut * width]


def _place(
    items: Sequence[bytes], weights: bytes, times: bytes, time: int, item: str, weight: float
) -> int:
    """Where an event stands among the recent ones, newest first."""
    for place, element in enumerate(items):
        other = packed.unpack_time(times, place)
        if time > other:
            return place
        if time == other:
            (other_weight,) = _unpack_double(weights, place * packed.DOUBLE_BYTES)
            if (item, weight) > (packed.unpack_text(element), other_weight):
                return place
    return len(items)
