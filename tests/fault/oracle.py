"""The oracle: what a stream must have become, event by event, wherever its consumers were disturbed.

Each of a user's first ratings is worth a power of four of its own. So the sum of their values, read in
base four, tells of every single one how often it was counted.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp2, isclose
from pathlib import Path

import pyarrow.parquet as pq

from streaming.event import SIGNUP, VERSION, UserEvent
from streaming.fold import Fold
from streaming.popularity import Popularity
from streaming.profile import UNKNOWN, Activity, Profile
from streaming.row import COLUMNS
from tests.shop import CATALOGUE, ITEMS
from tests.streams import DAY, NOON, sign_up

_BASE = 4
_RATINGS = 19  # 4**19 is within the bound of a value, and a sum of them exact as a float
_SPAN_DAYS = 50
# Fields that tell of the way that events came, not of what they are.
_OF_ARRIVAL = frozenset({"seen", "sources", "offsets"})
_ROUNDED = frozenset({"affinity", "value_sum"})


@dataclass
class Verdict:
    """How far the features are from what they must be.

    Attributes:
        lost: events that were to count, and do not.
        doubled: times that an event counts beyond its one.
        wrong: whatever else is not as it should be, in words.
    """

    lost: int = 0
    doubled: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether everything is as it should be."""
        return not (self.lost or self.doubled or self.wrong)

    def __str__(self) -> str:
        parts = [f"{self.lost} lost, {self.doubled} doubled", *self.wrong[:3]]
        return "; ".join(parts) + (f"; {len(self.wrong) - 3} more" if len(self.wrong) > 3 else "")


def crowd(draw: random.Random, users: int, events: int) -> list[UserEvent]:
    """Sign-ups and events of a crowd, out of order and at times that coincide."""
    names = [f"user-{number}" for number in range(users)]
    made = [
        sign_up(name, NOON + draw.randrange(DAY), age=float(draw.randrange(18, 80)), city="Bath")
        for name in names
        if draw.random() < 0.8
    ]
    rated: dict[str, int] = defaultdict(int)
    for number in range(events):
        user = draw.choice(names)
        rates = rated[user] < _RATINGS and draw.random() < 0.9
        made.append(
            UserEvent(
                version=VERSION,
                event_id=f"event-{number:06}",
                user_id=user,
                type="rating" if rates else "view",
                event_time=NOON + draw.randrange(2 * _SPAN_DAYS) * DAY // 2,
                item_id=draw.choice(ITEMS.ids),
                value=float(_BASE ** rated[user]) if rates else None,
            )
        )
        rated[user] += rates
    return made


def counting(events: Iterable[UserEvent]) -> list[UserEvent]:
    """Those of `events`, in order of arrival, that are to count: each id once, and none too late."""
    horizon = CATALOGUE.lateness_days * DAY
    seen: set[str] = set()
    newest: dict[str, int] = {}
    kept = []
    for event in events:
        late = event.type != SIGNUP and event.time_ms < newest.get(event.user_id, 0) - horizon
        if event.event_id in seen or late:
            continue
        seen.add(event.event_id)
        if event.type != SIGNUP:
            newest[event.user_id] = max(event.time_ms, newest.get(event.user_id, 0))
        kept.append(event)
    return kept


def compare(found: Mapping[str, Profile], events: Sequence[UserEvent]) -> Verdict:
    """Judge the profiles `found` by the `events` that are to count."""
    fold = Fold(CATALOGUE, ITEMS)
    expected: dict[str, Profile] = dict.fromkeys(found, UNKNOWN)
    for event in events:
        expected[event.user_id] = fold(expected.get(event.user_id, UNKNOWN), event)
    verdict = Verdict()
    for user, wanted in expected.items():
        profile = found.get(user, UNKNOWN)
        lost, doubled = _miscounted(profile.activity, wanted.activity)
        verdict.lost += lost
        verdict.doubled += doubled
        verdict.wrong += [f"{user}.{name}" for name in _differing(profile, wanted)]
    return verdict


def compare_items(found: Mapping[str, Popularity], events: Sequence[UserEvent]) -> list[str]:
    """What is wrong with the popularities `found`, by the `events` that are to count."""
    half_life = CATALOGUE.half_life_days
    wrong = []
    for item, popularity in found.items():
        times = [event.time_ms for event in events if event.item_id == item]
        newest = max(times, default=0)
        mass = sum(exp2((time - newest) / DAY / half_life) for time in times)
        if (popularity.event_count, popularity.last_event_ms) != (len(times), newest):
            wrong.append(f"item {item} counts {popularity.event_count} events of {len(times)}")
        elif not isclose(popularity.mass(half_life), mass, rel_tol=1e-9):
            wrong.append(f"item {item} weighs {popularity.mass(half_life)}, not {mass}")
    return wrong


def compare_log(folder: Path, sent: Iterable[UserEvent]) -> list[str]:
    """What is wrong with the event log: everything sent is at one place; a zombie may log places twice."""
    logged: dict[tuple[int, int], str] = {}
    wrong = []
    for path in folder.glob("*.parquet"):
        table = pq.read_table(path, columns=["source", "offset", "event_id"])
        for source, offset, event_id in zip(*(column.to_pylist() for column in table.columns), strict=True):
            other = logged.setdefault((source, offset), event_id)
            if other != event_id:
                wrong.append(f"the event log holds {other} and {event_id} at offset {offset} of {source}")
    if sorted(event.event_id for event in sent) != sorted(logged.values()):
        wrong.append(f"the event log holds {len(logged)} events, other ones than were sent")
    return wrong


def compare_dead_letters(found: Sequence[bytes | None], poison: Sequence[bytes | None]) -> list[str]:
    """What is wrong with the dead letters `found`, which must be the `poison` and nothing else."""
    if sorted(found, key=repr) == sorted(poison, key=repr):
        return []
    return [f"{len(found)} dead letters of {len(poison)} poisonous messages"]


def _miscounted(found: Activity | None, wanted: Activity | None) -> tuple[int, int]:
    """How many events of a user were lost, and how many counted too often."""
    lost = doubled = 0
    for had, due in zip(_digits(found), _digits(wanted), strict=True):
        lost += max(0, due - had)
        doubled += max(0, had - due)
    # Beyond three times a digit overflows into the next: then the counts say it.
    surplus = (found.value_count if found else 0) - (wanted.value_count if wanted else 0)
    doubled = max(doubled, surplus + lost)
    unrated = _unrated(found) - _unrated(wanted)
    return lost + max(0, -unrated), doubled + max(0, unrated)


def _digits(activity: Activity | None) -> list[int]:
    total = int(activity.value_sum) if activity else 0
    return [total // _BASE**place % _BASE for place in range(_RATINGS)]


def _unrated(activity: Activity | None) -> int:
    return activity.event_count - activity.value_count if activity else 0


def _differing(found: Profile, wanted: Profile) -> list[str]:
    """Names of the fields that are not equal, rounding apart."""
    one, other = found.attributes, wanted.attributes
    differing = []
    if (one and (one.signed_up_ms, one.values)) != (other and (other.signed_up_ms, other.values)):
        differing.append("attributes")
    if found.activity is None or wanted.activity is None:
        return differing if found.activity is wanted.activity else [*differing, "activity"]
    for _, name, _ in COLUMNS:
        left, right = getattr(found.activity, name), getattr(wanted.activity, name)
        if name in _OF_ARRIVAL:
            continue
        if name in _ROUNDED:
            pairs = zip(left, right, strict=True) if name == "affinity" else [(left, right)]
            equal = all(abs(a - b) <= 1e-9 * max(1.0, abs(b)) for a, b in pairs)
        else:
            equal = left == right
        if not equal:
            differing.append(name)
    return differing
