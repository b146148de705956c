"""Snapshots: the profile after each event, derived from the log."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from feast import FeatureStore

from feature_repo import training_set as sets
from feature_repo.offline import write_part
from feature_repo.store import apply, materialize
from feature_repo.tombstones import Tombstone, Tombstones
from feature_repo.workspace import Workspace
from streaming import replay, snapshots
from streaming.event import UserEvent
from streaming.fold import Fold, Outcome
from streaming.offline_log import OfflineLog
from streaming.parts import parts_in
from streaming.position import Position, source
from streaming.profile import UNKNOWN, Profile
from streaming.profile_file import ProfileFile
from streaming.replay import Replayed
from streaming.sink import Change, GuardedSink
from streaming.snapshots import Snapshots
from tests.shop import CATALOGUE, ITEMS, shop_workspace
from tests.streams import NOON, assert_same, offline_rows, oracle, rating, sign_up, stream

ORIGIN = 3
VIEWS = ("user_activity", "user_attributes")


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A store for its schemas; each test has a workspace of its own."""
    return apply(shop_workspace(tmp_path_factory.mktemp("applied")))


def log(workspace: Workspace, events: list[UserEvent], first: int = 0, partition: int = 0) -> None:
    """Append `events` as one part file."""
    placed = list(enumerate(events, first))
    OfflineLog(workspace, "shop", ORIGIN).append(partition, first, first + len(events) - 1, placed)


def update(workspace: Workspace, store: FeatureStore, anew: bool = False) -> Replayed:
    """Bring the snapshots up to date."""
    return Snapshots(workspace, store, CATALOGUE, ITEMS).update(anew=anew)


def rows(workspace: Workspace) -> list[list[dict[str, Any]]]:
    """All rows of both views."""
    return [offline_rows(workspace, view) if (workspace.offline / view).exists() else [] for view in VIEWS]


def test_there_is_a_row_for_the_profile_after_each_event(applied: FeatureStore, tmp_path: Path) -> None:
    workspace, events = Workspace(tmp_path), stream(seed=4, users=6, events=120)
    log(workspace, events)
    assert update(workspace, applied).folded == len(events)
    profiles: dict[str, Profile] = {}
    counts, cities = [], []
    fold = Fold(CATALOGUE, ITEMS)
    for event in events:
        before = profiles.get(event.user_id, UNKNOWN)
        after = profiles[event.user_id] = fold(before, event)
        if after.activity is not before.activity and after.activity is not None:
            counts.append((event.user_id, after.activity.event_count, after.activity.recent_items))
        elif after.attributes is not None:
            cities.append((event.user_id, after.attributes.signed_up_ms))
    found, declared = rows(workspace)
    assert sorted(
        (row["user_id"], row["event_count"], tuple(row["recent_items"])) for row in found
    ) == sorted(counts)
    assert sorted((row["user_id"], row["signed_up_ms"]) for row in declared) == sorted(cities)


def test_an_update_adds_what_is_new_and_is_as_if_done_at_once(
    applied: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, stepwise = Workspace(tmp_path / "once"), Workspace(tmp_path / "stepwise")
    events = stream(seed=5, users=8, events=300)
    log(once, events)
    assert update(once, applied) == Replayed(folded=len(events))
    monkeypatch.setattr(replay, "CHUNK_EVENTS", 17)
    for first in range(0, len(events), 100):
        log(stepwise, events[first : first + 100], first)
        assert update(stepwise, applied).folded == len(events[first : first + 100])
    assert update(stepwise, applied) == Replayed()
    assert rows(stepwise) == rows(once)


def test_an_update_cut_short_anywhere_is_completed_by_the_next(
    applied: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "CHUNK_EVENTS", 40)
    events = stream(seed=6, users=8, events=120)
    whole = Workspace(tmp_path / "whole")
    log(whole, events)
    update(whole, applied)
    writes = len([part for view in VIEWS for part in parts_in(whole.offline / view)])
    for cut in range(1, writes + 1):
        workspace, left = Workspace(tmp_path / str(cut)), iter([None] * (cut - 1))

        def cut_short(*arguments: Any, left: Iterator[None] = left, **options: Any) -> Path:
            path = write_part(*arguments, **options)
            if next(left, path) is path:
                raise KeyboardInterrupt
            return path

        log(workspace, events)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(snapshots, "write_part", cut_short)
            update(workspace, applied)
        with monkeypatch.context() as patch:
            patch.setattr(replay, "CHUNK_EVENTS", 23)  # and in other steps
            update(workspace, applied)
        assert rows(workspace) == rows(whole)


def test_without_its_state_it_folds_again_and_writes_nothing_twice(
    applied: FeatureStore, tmp_path: Path
) -> None:
    workspace, events = Workspace(tmp_path), stream(seed=7, users=5, events=60)
    log(workspace, events[:40])
    update(workspace, applied)
    (workspace.offline / snapshots.STATE_FILE).unlink()
    log(workspace, events[40:], 40)
    assert update(workspace, applied).folded == len(events)
    before = rows(workspace)
    assert sum(map(len, before)) == len(events)
    update(workspace, applied, anew=True)
    assert rows(workspace) == before


def test_overlapping_parts_and_sources_are_each_folded_once(applied: FeatureStore, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    old = [rating("ann", "novel", NOON + number) for number in range(6)]
    new = [rating("ann", "green", NOON + 1_000 + number) for number in range(3)]
    # The newer topic sorts first by name; its events are folded last all the same.
    OfflineLog(workspace, "a-new", 9).append(0, 0, 2, list(enumerate(new)))
    log(workspace, old[:4])
    OfflineLog(Workspace(tmp_path / "zombie"), "shop", ORIGIN).append(0, 2, 5, list(enumerate(old[2:], 2)))
    (part,) = parts_in(tmp_path / "zombie" / "offline" / "events")
    part.path.rename(workspace.offline / "events" / part.path.name)
    assert update(workspace, applied) == Replayed(folded=9)
    found, _ = rows(workspace)
    assert [row["event_count"] for row in found] == list(range(1, 10))
    times = [row["event_timestamp"] for row in found]
    assert times == sorted(times)
    assert found[-1]["recent_items"] == ["green"] * 3 + ["novel"] * 2


def test_what_was_sent_twice_or_erased_leaves_no_row(applied: FeatureStore, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    twice = rating("ann", "novel", NOON)
    log(workspace, [twice, rating("bob", "novel", NOON), twice, rating("bob", "novel", NOON + 1)])
    Tombstones(workspace).add(Tombstone("bob", NOON, {source(ORIGIN, 0): 1}))
    assert update(workspace, applied) == Replayed(folded=2, skipped=1)
    found, _ = rows(workspace)
    assert [(row["user_id"], row["event_count"]) for row in found] == [("ann", 1), ("bob", 1)]


def test_an_item_that_left_the_catalogue_is_passed_over(applied: FeatureStore, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    log(workspace, [rating("ann", "unicorn", NOON), rating("ann", "novel", NOON + 1)])
    assert update(workspace, applied) == Replayed(folded=1, unknown=1)


def test_a_join_answers_as_of_any_moment(tmp_path: Path) -> None:
    workspace = shop_workspace(tmp_path)
    store = apply(workspace)
    events = [
        sign_up("ann", NOON, age=31.0, city="York"),
        *(rating("ann", item, NOON + 1_000 * place) for place, item in enumerate(ITEMS.ids, 1)),
        sign_up("ann", NOON + 60_000, age=32.0, city="Bath"),
    ]
    log(workspace, events)
    update(workspace, store)
    times = [datetime.fromtimestamp(event.time_ms / 1000, UTC) for event in events]
    asked = pd.DataFrame({"user_id": ["ann"] * len(times), "event_timestamp": times})
    joined = store.get_historical_features(
        asked, ["user_activity:event_count", "user_activity:recent_items", "user_attributes:age"]
    ).to_df()
    # All of them can be asked for at once.
    observed = sets.observed_features(store)
    assert pa.concat_tables(sets.join(store, asked, observed)).num_columns == 2 + len(observed)
    for place, row in joined.sort_values("event_timestamp").reset_index(drop=True).iterrows():
        profile = oracle(events[: int(place) + 1])["ann"]
        if profile.activity is None:
            assert pd.isna(row["event_count"])
        else:
            assert row["event_count"] == profile.activity.event_count
            assert tuple(row["recent_items"]) == profile.activity.recent_items
        assert profile.attributes is not None
        assert row["age"] == profile.attributes.values[0]


def test_the_state_judges_as_the_stream_does(applied: FeatureStore, tmp_path: Path) -> None:
    workspace, events = Workspace(tmp_path), stream(seed=8, users=3, events=200)
    events += events[-20:]  # sent twice
    log(workspace, events)
    replayed = update(workspace, applied)
    fold, profiles, folded = Fold(CATALOGUE, ITEMS), dict[str, Profile](), 0
    for offset, event in enumerate(events):
        before, at = profiles.get(event.user_id, UNKNOWN), Position(source(ORIGIN, 0), offset)
        if fold.judge(before, event, at) is Outcome.FOLD:
            profiles[event.user_id] = fold(before, event, at)
            folded += 1
    assert (replayed.folded, replayed.skipped) == (folded, len(events) - folded)
    with ProfileFile(workspace.offline / snapshots.STATE_FILE, CATALOGUE) as state:
        assert state.read(profiles) == profiles


def test_a_store_filled_from_snapshots_is_one_that_the_stream_goes_on_from(tmp_path: Path) -> None:
    workspace = shop_workspace(tmp_path)
    store, events = apply(workspace), stream(seed=9, users=4, events=80)
    log(workspace, events)
    update(workspace, store)
    materialize(store, VIEWS, full=True)
    sink, expected = GuardedSink(store, CATALOGUE), oracle(events)
    found = sink.read(expected)
    for user, profile in expected.items():
        assert_same(found[user], profile)
    # What it was given already is known as such, and what is new is accepted.
    fold, replayed = Fold(CATALOGUE, ITEMS), Position(source(ORIGIN, 0), len(events) - 1)
    last = events[-1]
    assert fold.judge(found[last.user_id], last, replayed) is Outcome.REPLAYED
    fresh = Position(source(ORIGIN, 0), len(events))
    after = fold(found[last.user_id], rating(last.user_id, "novel", NOON), fresh)
    assert sink.write({last.user_id: Change(found[last.user_id], after)}) == set()
