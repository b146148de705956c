"""(profile, event) → profile: pure, and indifferent to the order of events.

Sums, counts, minima, maxima and the newest N commute as they are. The decayed affinity does because
it is kept relative to the latest event: an older one arrives already decayed by its age.
"""

from math import exp2
from zlib import crc32

import msgspec

from feature_repo.catalogue import Catalogue, Items
from streaming.event import SIGNUP, UserEvent
from streaming.position import Position, advance
from streaming.profile import Activity, Attributes, Profile

_DAY_MS = 86_400_000


class Fold:
    """Folds events of one catalogue."""

    def __init__(self, catalogue: Catalogue, items: Items) -> None:
        self._half_life_ms = catalogue.half_life_days * _DAY_MS
        self._recent_length = catalogue.recent_length
        self._weight = catalogue.event_weight
        self._type_index = {name: index for index, name in enumerate(catalogue.event_types)}
        self._categories = dict(zip(items.ids, items.categories, strict=True))
        self._attributes = [(attribute.name, attribute.kind) for attribute in catalogue.attributes]
        self._empty = Activity(
            event_count=0,
            type_counts=(0,) * len(catalogue.event_types),
            value_count=0,
            value_sum=0.0,
            first_event_ms=0,
            last_event_ms=0,
            affinity=(0.0,) * len(catalogue.categories),
            recent_items=(),
            recent_weights=(),
            recent_times_ms=(),
            recent_event_ids=(),
            sources=(),
            offsets=(),
        )

    def __call__(self, profile: Profile, event: UserEvent, at: Position | None = None) -> Profile:
        """The profile after `event`; with `at`, it remembers that the event is part of it.

        An event of a type or item outside the catalogue is an error of the caller's: decoding
        refuses those.
        """
        if event.type == SIGNUP:
            declared = self._declare(event)
            if profile.attributes is not None and _rank(profile.attributes) >= _rank(declared):
                return profile
            return Profile(profile.activity, declared)
        return Profile(self._act(profile.activity or self._empty, event, at), profile.attributes)

    def _declare(self, event: UserEvent) -> Attributes:
        declared = event.attributes or {}
        return Attributes(
            event.time_ms, tuple(_typed(declared.get(name), kind) for name, kind in self._attributes)
        )

    def _act(self, before: Activity, event: UserEvent, at: Position | None) -> Activity:
        time, value, item = event.time_ms, event.value, event.item_id or ""
        weight = self._weight(event.type, value)
        first = before.event_count == 0
        last = time if first else max(before.last_event_ms, time)

        affinity = list(before.affinity)
        if time > before.last_event_ms and not first:
            kept = exp2((before.last_event_ms - time) / self._half_life_ms)
            affinity = [mass * kept for mass in affinity]
        categories = self._categories[item]
        if categories:
            share = weight * exp2((time - last) / self._half_life_ms) / len(categories)
            for category in categories:
                affinity[category] += share

        counts, kind = before.type_counts, self._type_index[event.type]
        sources, offsets = (before.sources, before.offsets)
        if at is not None:
            sources, offsets = advance(sources, offsets, at)

        place = _place(before, time, event.event_id)
        cut = self._recent_length - 1
        items, weights = before.recent_items, before.recent_weights
        times, ids = before.recent_times_ms, before.recent_event_ids
        if place <= cut:
            items = (*items[:place], item, *items[place:cut])
            weights = (*weights[:place], weight, *weights[place:cut])
            times = (*times[:place], time, *times[place:cut])
            ids = (*ids[:place], event.event_id, *ids[place:cut])

        return Activity(
            event_count=before.event_count + 1,
            type_counts=(*counts[:kind], counts[kind] + 1, *counts[kind + 1 :]),
            value_count=before.value_count + (value is not None),
            value_sum=before.value_sum + (value or 0.0),
            first_event_ms=time if first else min(before.first_event_ms, time),
            last_event_ms=last,
            affinity=tuple(affinity),
            recent_items=items,
            recent_weights=weights,
            recent_times_ms=times,
            recent_event_ids=ids,
            sources=sources,
            offsets=offsets,
        )


def _place(before: Activity, time: int, event_id: str) -> int:
    """Where an event of `time` and `event_id` stands among the recent ones, newest first."""
    for place, (other_time, other_id) in enumerate(
        zip(before.recent_times_ms, before.recent_event_ids, strict=True)
    ):
        if (time, event_id) > (other_time, other_id):
            return place
    return len(before.recent_times_ms)


def _typed(value: str | float | None, kind: str) -> str | float | None:
    """As the feature's type wants it: text for a category, a number for a number."""
    if value is None or kind == "number":
        return value
    return value if isinstance(value, str) else f"{value:g}"


def sub_millisecond(attributes: Attributes) -> int:
    """0..999, from what was declared: orders two sign-ups of the same millisecond, in any store."""
    return crc32(msgspec.json.encode(attributes.values)) % 1000


def _rank(attributes: Attributes) -> tuple[int, int, bytes]:
    return attributes.signed_up_ms, sub_millisecond(attributes), msgspec.json.encode(attributes.values)
