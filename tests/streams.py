"""Event streams over the small shop, and what they must fold to."""

import random
from collections.abc import Iterable
from typing import Any

import pyarrow.parquet as pq

from feature_repo.workspace import Workspace
from streaming.event import SIGNUP, VERSION, UserEvent
from streaming.fold import Fold
from streaming.profile import UNKNOWN, Profile
from streaming.row import COLUMNS
from tests.shop import CATALOGUE, ITEMS

NOON = 1_700_000_000_000  # milliseconds since the epoch
DAY = 86_400_000


def rating(
    user: str, item: str, at: int, value: float | None = 5.0, event_id: str | None = None
) -> UserEvent:
    """One rating."""
    identity = event_id or f"{user}-{item}-{at}"
    return UserEvent(
        version=VERSION,
        event_id=identity,
        user_id=user,
        type="rating",
        event_time=at,
        item_id=item,
        value=value,
    )


def sign_up(user: str, at: int, **attributes: str | float | None) -> UserEvent:
    """One sign-up."""
    return UserEvent(
        version=VERSION,
        event_id=f"{SIGNUP}-{user}-{at}",
        user_id=user,
        type=SIGNUP,
        event_time=at,
        attributes=attributes,
    )


def stream(seed: int, users: int, events: int) -> list[UserEvent]:
    """A random stream: sign-ups first, ratings and views out of order, times that coincide."""
    draw = random.Random(seed)
    names = [f"user-{number}" for number in range(users)]
    made = [
        sign_up(name, NOON + draw.randrange(DAY), age=float(draw.randrange(18, 80)), city="Bath")
        for name in names
        if draw.random() < 0.8
    ]
    for number in range(events):
        kind = draw.choice(["rating", "view"])
        made.append(
            UserEvent(
                version=VERSION,
                event_id=f"event-{number:06}",
                user_id=draw.choice(names),
                type=kind,
                event_time=NOON + draw.randrange(100) * DAY // 2,
                item_id=draw.choice(ITEMS.ids),
                value=float(draw.randrange(1, 6)) if kind == "rating" else None,
            )
        )
    return made


def oracle(events: Iterable[UserEvent]) -> dict[str, Profile]:
    """The profiles after `events`, by folding them directly."""
    fold = Fold(CATALOGUE, ITEMS)
    profiles: dict[str, Profile] = {}
    for event in events:
        profiles[event.user_id] = fold(profiles.get(event.user_id, UNKNOWN), event)
    return profiles


def assert_same(found: Profile, expected: Profile) -> None:
    """Equal but for positions and order of arrival, and for the rounding of sums taken in another order."""
    one, other = found.attributes, expected.attributes
    assert (one and (one.signed_up_ms, one.values)) == (other and (other.signed_up_ms, other.values))
    if expected.activity is None or found.activity is None:
        assert found.activity is expected.activity
        return
    for _, name, _ in COLUMNS:
        left, right = getattr(found.activity, name), getattr(expected.activity, name)
        if name in ("affinity", "value_sum"):
            pairs = zip(left, right, strict=True) if name == "affinity" else [(left, right)]
            assert all(abs(a - b) <= 1e-9 * max(1.0, abs(b)) for a, b in pairs), name
        elif name not in ("seen", "sources", "offsets"):
            assert left == right, name


def offline_rows(workspace: Workspace, view: str) -> list[dict[str, Any]]:
    """All rows of `view`'s part files, in one order whatever the files were."""
    rows = pq.read_table(workspace.offline / view).to_pylist()
    return sorted(
        rows, key=lambda row: (row["user_id"], str(row.get("created_timestamp")), row.get("event_id", ""))
    )
