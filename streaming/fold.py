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
from streaming import packed
from streaming.declaration import declare
from streaming.event import SIGNUP, UserEvent
from streaming.position import Position, advance, is_folded, offset_of
from streaming.profile import Activity, Profile
from streaming.recent import Use, add
from streaming.seen import hash_of, is_seen, latest

_DAY_MS = 86_400_000


class Outcome(Enum):
    """What is to be done with an event."""

    FOLD = "fold"
    REPLAYED = "replayed"
    DUPLICATE = "duplicate"
    LATE = "late"


# An item's id, the same packed, and its categories.
Item = tuple[str, bytes, Sequence[int]]
# An event and its offset in the source that it was read from. A plain tuple, for there is one for each.
Placed = tuple[int, UserEvent]
# The same, with its time in milliseconds, the hash of its id, the place of its type, its weight, its value
# and its item: id, packed id and categories; a sign-up has none.
Act = tuple[int, UserEvent, int, bytes, int, float, float | None, Item | None]


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
        self._items: dict[str | None, Item] = {
            item: (item, packed.pack_text(item), categories)
            for item, categories in zip(items.ids, items.categories, strict=True)
        }
        masses = Struct(f"<{len(catalogue.categories)}d")
        self._pack_affinity, self._unpack_affinity = masses.pack, masses.unpack
        self._attributes = catalogue.attributes
        self._idle = idle(catalogue)

    def judge(self, profile: Profile, event: UserEvent, at: Position) -> Outcome:
        """Whether `event`, read at `at`, is to be folded into `profile`, or why not."""
        _, refused = self.run(profile, at.source, [self.prepare(at.offset, event)])
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
        seen = latest([hash_of(event.event_id)], before.seen)
        sources, offsets = before.sources, before.offsets
        if at is not None:
            sources, offsets = advance(sources, offsets, at)
        newest = max(before.last_event_ms, event.time_ms)
        after = self._act(before, [self.prepare(-1, event)], newest, seen, sources, offsets)
        return Profile(after, attributes)

    def prepare(self, offset: int, event: UserEvent) -> Act:
        """What folding wants to know of an event.

        To be asked while the event is at hand: those of a batch are folded user by user, and would be
        looked up all over memory by then.
        """
        time = event.event_time
        if time.__class__ is not int:
            time = event.time_ms
        if event.type not in self._kinds:
            return offset, event, time, b"", -1, 0.0, None, None
        kind, weight = self._kinds[event.type]
        value = event.value
        if value is not None:
            weight = self._weight(event.type, value)
        return offset, event, time, hash_of(event.event_id), kind, weight, value, self._items[event.item_id]

    def run(self, profile: Profile, source: int, acts: Sequence[Act]) -> tuple[Profile, dict[int, Outcome]]:
        """The profile after `acts` of its user, in the order in which they were read from `source`.

        A duplicate is an event whose id is among the last 64 of its user: a producer that sends
        again what it does not know to have arrived. Late is what is older than the user's newest
        event by more than the catalogue's bound.

        Returns:
            The profile, the same object where nothing was folded; and by offset, what became of those
            events that were not.
        """
        before, attributes = profile.activity or self._idle, profile.attributes
        known, newest, upto = before.seen, before.last_event_ms, offset_of(before, source)
        lateness_ms = self._lateness_ms
        fresh: dict[bytes, None] = {}
        folded: list[Act] = []
        refused: dict[int, Outcome] = {}
        for act in acts:
            offset, event, time, ident, _, _, _, item = act
            if item is None:
                at = Position(source, offset)
                if is_folded(attributes, at):
                    refused[offset] = Outcome.REPLAYED
                else:
                    attributes = declare(attributes, event, self._attributes, at)
                continue
            if offset <= upto:
                refused[offset] = Outcome.REPLAYED
                continue
            if (ident in fresh or ident in known) and is_seen(latest(fresh, known), ident):
                refused[offset] = Outcome.DUPLICATE
            elif time < newest - lateness_ms:
                refused[offset] = Outcome.LATE
            else:
                newest = time if time > newest else newest
                upto = offset
                fresh.pop(ident, None)  # to stand last
                fresh[ident] = None
                folded.append(act)
        if not folded:
            if attributes is profile.attributes:
                return profile, refused
            return Profile(profile.activity, attributes), refused
        sources, offsets = advance(before.sources, before.offsets, Position(source, upto))
        after = self._act(before, folded, newest, latest(fresh, known), sources, offsets)
        return Profile(after, attributes), refused

    def _act(
        self,
        before: Activity,
        acts: Sequence[Act],
        newest: int,
        seen: bytes,
        sources: tuple[int, ...],
        offsets: tuple[int, ...],
    ) -> Activity:
        """The activity after `acts`; `newest` is the latest of all, also of before."""
        value_count, value_sum = before.value_count, before.value_sum
        half_life_ms = self._half_life_ms
        kept = exp2((before.last_event_ms - newest) / half_life_ms)
        affinity = [mass * kept for mass in self._unpack_affinity(before.packed_affinity)]
        counts, uses = list(before.type_counts), list[Use]()
        for _, _, time, _, kind, weight, value, item in acts:
            if item is None:
                continue
            item_id, element, categories = item
            if value is not None:
                value_count += 1
                value_sum += value
            counts[kind] += 1
            uses.append((time, item_id, weight, element))
            if categories:
                share = weight / len(categories)
                if time != newest:
                    share *= exp2((time - newest) / half_life_ms)
                for category in categories:
                    affinity[category] += share
        if len(uses) > 1:
            uses.sort()
        # By position: a keyword for each field takes three times as long.
        return Activity(
            before.event_count + len(uses),
            tuple(counts),
            value_count,
            value_sum,
            min(uses[0][0], before.first_event_ms) if before.event_count else uses[0][0],
            newest,
            self._pack_affinity(*affinity),
            *add(before, uses, newest, self._recent_length),
            seen,
            sources,
            offsets,
        )


def idle(catalogue: Catalogue) -> Activity:
    """The activity of a user who has done nothing."""
    types, categories = len(catalogue.event_types), len(catalogue.categories)
    nothing = packed.pack_doubles((0.0,) * categories)
    return Activity(0, (0,) * types, 0, 0.0, 0, 0, nothing, (), b"", b"", (), (), b"", (), ())
