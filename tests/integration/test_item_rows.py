"""Item rows of the offline store are those of the stream, and a fresh online store goes on from them."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from feast import FeatureStore

from feature_repo.item_rows import write_activity
from feature_repo.store import apply
from feature_repo.workspace import Workspace
from streaming.event import UserEvent
from streaming.fold import Fold, Outcome
from streaming.item_sink import GuardedItems, ItemChange
from streaming.offline_log import OfflineLog, Span
from streaming.popularity import UNUSED, Popularity, Use, add
from streaming.position import Position, source
from streaming.profile import UNKNOWN, Profile
from tests.shop import CATALOGUE, ITEMS, shop_workspace
from tests.streams import DAY, NOON, rating, sign_up

ORIGIN, PARTITIONS = 7, 2
SHOP = msgspec.structs.replace(CATALOGUE, lateness_days=20.0)
HALF_LIFE_DAYS = SHOP.half_life_days


def history(seed: int) -> list[list[UserEvent]]:
    """By partition: sign-ups, ratings out of order, some too late, some twice; "novel" is never rated."""
    draw = random.Random(seed)
    log: list[list[UserEvent]] = []
    for partition in range(PARTITIONS):
        events = [sign_up(f"user-{partition}-{number}", NOON) for number in range(3)]
        for number in range(60):
            if draw.random() < 0.2:
                events.append(draw.choice(events))
                continue
            user, item = f"user-{partition}-{draw.randrange(3)}", draw.choice(ITEMS.ids[:3])
            at = NOON + draw.randrange(40) * DAY
            events.append(rating(user, item, at, event_id=f"{partition}-{number}"))
        log.append(events)
    return log


def streamed(log: list[list[UserEvent]]) -> dict[str, Popularity]:
    """What the stream makes of it."""
    fold = Fold(SHOP, ITEMS)
    rows = dict.fromkeys(ITEMS.ids, UNUSED)
    profiles: dict[str, Profile] = {}
    for partition, events in enumerate(log):
        for offset, event in enumerate(events):
            at = Position(source(ORIGIN, partition), offset)
            profile = profiles.get(event.user_id, UNKNOWN)
            if fold.judge(profile, event, at) is Outcome.FOLD:
                profiles[event.user_id] = fold(profile, event, at)
                if event.item_id is not None:
                    use: Use = (*at, event.time_ms)
                    rows[event.item_id] = add(rows[event.item_id], [use], HALF_LIFE_DAYS)
    return {item: row for item, row in rows.items() if row is not UNUSED}


@pytest.fixture
def logged(tmp_path: Path) -> tuple[Workspace, FeatureStore, list[list[UserEvent]]]:
    """A shop whose events are logged, and whose online store is empty."""
    workspace = shop_workspace(tmp_path)
    store = apply(workspace)
    log = history(11)
    OfflineLog(workspace, "events", ORIGIN).append_all(
        Span(partition, 0, len(events) - 1, list(enumerate(events))) for partition, events in enumerate(log)
    )
    return workspace, store, log


def test_a_fresh_store_is_filled_from_the_log_and_streamed_into(
    logged: tuple[Workspace, FeatureStore, list[list[UserEvent]]],
) -> None:
    workspace, store, log = logged
    expected = streamed(log)
    assert write_activity(workspace, store, SHOP) == len(expected) == 3
    store.materialize(
        datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(minutes=1), ["item_activity"]
    )

    sink = GuardedItems(store, SHOP)
    found = sink.read(ITEMS.ids)
    for item, row in expected.items():
        filled = found.pop(item)
        assert (filled.sources, filled.offsets, filled.counts) == (row.sources, row.offsets, row.counts)
        assert filled.last_ms == row.last_ms
        assert filled.masses == pytest.approx(row.masses, rel=1e-12)
        replayed: list[Use] = [(row.sources[0], offset, NOON) for offset in range(row.offsets[0] + 1)]
        assert add(filled, replayed, HALF_LIFE_DAYS) is filled
        more = add(filled, [(row.sources[0], 10_000, NOON + 50 * DAY)], HALF_LIFE_DAYS)
        assert sink.write({item: ItemChange(filled, more)}) == set()
        assert sink.read([item]) == {item: more}
    assert set(found.values()) == {UNUSED}

    features = [
        "item_activity:item_event_count",
        "item_activity:popularity",
        "item_activity:item_last_event_ms",
    ]
    read = store.get_online_features(features, [{"item_id": item} for item in expected]).to_dict()
    assert read["item_event_count"] == [row.event_count + 1 for row in expected.values()]
    assert read["item_last_event_ms"] == [NOON + 50 * DAY] * 3
    half = [
        row.mass(HALF_LIFE_DAYS) * 0.5 ** ((NOON / DAY + 50 - row.last_event_ms / DAY) / HALF_LIFE_DAYS) + 1
        for row in expected.values()
    ]
    assert read["popularity"] == pytest.approx(half)


def test_nothing_logged_writes_nothing(tmp_path: Path) -> None:
    workspace = shop_workspace(tmp_path)
    assert write_activity(workspace, apply(workspace), SHOP) == 0
