"""Compaction: fewer files, the same rows."""

import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore

from feature_repo.event_log import folder, labelled_events, used_items
from feature_repo.store import apply
from feature_repo.tombstones import Tombstone, Tombstones
from feature_repo.workspace import Workspace
from streaming import compaction
from streaming.compaction import Compacted, compact
from streaming.event import UserEvent
from streaming.offline_log import OfflineLog
from streaming.parts import parts_in
from streaming.position import source
from streaming.replay import Replayed
from streaming.snapshots import Snapshots
from tests.shop import CATALOGUE, ITEMS, shop_workspace
from tests.streams import NOON, offline_rows, rating, stream

ORIGIN = 3
EVENTS = stream(seed=21, users=5, events=60)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def log(
    workspace: Workspace, first: int, last: int, days_ago: float = 1, events: list[UserEvent] = EVENTS
) -> Path:
    """One part file with these of the events, by offset."""
    target = Workspace(workspace.root / "aside")
    placed = [(offset, events[offset]) for offset in range(first, last + 1)]
    OfflineLog(target, "shop", ORIGIN).append(0, first, last, placed)
    (part,) = parts_in(folder(target))
    folder(workspace).mkdir(parents=True, exist_ok=True)
    path = part.path.rename(folder(workspace) / part.path.name)
    age(path, days_ago)
    return path


def age(path: Path, days: float) -> None:
    """Pretend it was written that long ago, at noon."""
    moment = datetime.now(UTC).replace(hour=12, minute=0) - timedelta(days=days)
    os.utime(path, (moment.timestamp(), moment.timestamp()))


def names(workspace: Workspace, view: str = "events") -> list[str]:
    """Of the stream's part files in `view`, without what they have in common."""
    return [part.name.removeprefix("shop-00000003-0-") for part in parts_in(workspace.offline / view)]


def offsets(workspace: Workspace) -> list[int]:
    """All offsets logged, in the order of the files."""
    return [
        offset
        for part in parts_in(folder(workspace))
        for offset in pq.read_table(part.path)["offset"].to_pylist()
    ]


def test_a_days_files_become_one_and_others_stay(workspace: Workspace) -> None:
    for first, days in ((0, 3), (5, 3), (10, 2), (15, 2), (20, 2), (25, 0), (30, 0)):
        log(workspace, first, first + 4, days)
    before = offline_rows(workspace, "events")
    assert compact(workspace) == Compacted(merged=5, into=2)
    assert names(workspace) == ["0-9", "10-24", "25-29", "30-34"]
    assert offline_rows(workspace, "events") == before
    # Again there is nothing to do: a merged file is still of the day that its rows came.
    assert compact(workspace) == Compacted()
    assert compact(workspace, today=True) == Compacted(merged=2, into=1)
    assert names(workspace) == ["0-9", "10-24", "25-34"]


def test_the_log_goes_on_where_it_was(workspace: Workspace) -> None:
    log(workspace, 0, 9)
    log(workspace, 10, 19)
    compact(workspace)
    again = OfflineLog(workspace, "shop", ORIGIN)
    assert again.covered(0) == 19
    again.append(0, 15, 24, [(offset, EVENTS[offset]) for offset in range(15, 25)])
    assert offsets(workspace) == list(range(25))


def test_overlapping_files_are_merged_and_each_offset_kept_once(workspace: Workspace) -> None:
    for first, last, days in ((0, 9, 3), (5, 14, 2), (10, 19, 2), (20, 29, 1)):
        log(workspace, first, last, days)
    assert compact(workspace) == Compacted(merged=3, into=1, dropped=10)
    assert names(workspace) == ["0-19", "20-29"]
    assert offsets(workspace) == list(range(30))


def test_cut_short_it_leaves_nothing_lost_or_read_twice(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in (0, 10, 20):
        log(workspace, first, first + 9)
    read = labelled_events(workspace)

    def killed(_path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", killed)
        compact(workspace)
    assert names(workspace) == ["0-9", "0-29", "10-19", "20-29"]
    pd.testing.assert_frame_equal(labelled_events(workspace), read)
    for event in EVENTS[:30]:
        assert event.item_id is None or event.item_id in used_items(workspace, event.user_id)
    assert compact(workspace) == Compacted(merged=4, into=1, dropped=30)
    assert names(workspace) == ["0-29"]
    assert offsets(workspace) == list(range(30))


def test_files_are_merged_up_to_a_bound(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    size = max(log(workspace, first, first + 9).stat().st_size for first in range(0, 60, 10))
    monkeypatch.setattr(compaction, "MERGED_BYTES", 2 * size)
    assert compact(workspace) == Compacted(merged=6, into=3)
    assert offsets(workspace) == list(range(60))


def test_what_was_logged_while_its_user_was_erased_goes(workspace: Workspace) -> None:
    log(workspace, 0, 9)
    log(workspace, 10, 19)
    user = Counter(event.user_id for event in EVENTS[:20]).most_common(1)[0][0]
    Tombstones(workspace).add(Tombstone(user, NOON, {source(ORIGIN, 0): 14}))
    read = labelled_events(workspace)
    assert sum(read["user_id"] == user) == sum(
        event.user_id == user and event.item_id is not None for event in EVENTS[15:20]
    )
    compact(workspace)
    left = [row["offset"] for row in offline_rows(workspace, "events") if row["user_id"] == user]
    assert left == [offset for offset in range(15, 20) if EVENTS[offset].user_id == user]


def test_readers_take_an_event_once_that_was_sent_twice(workspace: Workspace) -> None:
    once, again = rating("ann", "novel", NOON, event_id="e"), rating("ann", "green", NOON + 1, event_id="f")
    log(workspace, 0, 2, events=[once, again, once])
    assert labelled_events(workspace)["item_id"].tolist() == ["novel", "green"]


def test_snapshots_are_merged_and_joined_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = shop_workspace(tmp_path)
    store = apply(workspace)
    for first in range(0, 60, 20):
        log(workspace, first, first + 19)
        Snapshots(workspace, store, CATALOGUE, ITEMS).update()
    for view in ("user_activity", "user_attributes"):
        for part in parts_in(workspace.offline / view):
            age(part.path, 1)
    before = answers(store)
    rows = [offline_rows(workspace, view) for view in ("user_activity", "user_attributes")]

    def killed(path: Path) -> None:
        if path.parent.name == "user_activity":
            raise KeyboardInterrupt
        os.unlink(path)  # noqa: PTH108, the other one is replaced

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", killed)
        compact(workspace)
    assert len(offline_rows(workspace, "user_activity")) > len(rows[0])
    pd.testing.assert_frame_equal(answers(store), before)
    compact(workspace)
    assert [offline_rows(workspace, view) for view in ("user_activity", "user_attributes")] == rows
    assert names(workspace, "user_activity") == ["0-59"]
    pd.testing.assert_frame_equal(answers(store), before)
    assert Snapshots(workspace, store, CATALOGUE, ITEMS).update() == Replayed()


def answers(store: FeatureStore) -> pd.DataFrame:
    """What joins answer at several moments of every user."""
    moments = [
        datetime.fromtimestamp(NOON / 1000, UTC) + timedelta(days=days) for days in (0.5, 10, 30, 60)
    ]
    asked = pd.DataFrame(
        [
            {"user_id": user, "event_timestamp": moment}
            for user in sorted({event.user_id for event in EVENTS})
            for moment in moments
        ]
    )
    joined = store.get_historical_features(
        asked, ["user_activity:event_count", "user_activity:value_sum", "user_attributes:age"]
    ).to_df()
    assert len(joined) == len(asked)
    return joined.sort_values(["user_id", "event_timestamp"], ignore_index=True)
