"""The offline log knows what it holds."""

from pathlib import Path

from feast import FeatureStore

from feature_repo.workspace import Workspace
from streaming.fold import Fold
from streaming.offline_log import Entry, OfflineLog, PartitionRows
from streaming.position import Position
from streaming.profile import UNKNOWN
from tests.shop import CATALOGUE, ITEMS
from tests.streams import NOON, offline_rows, rating

fold = Fold(CATALOGUE, ITEMS)


def rows(first: int, last: int, partition: int = 0) -> PartitionRows:
    """What a batch of ratings brings, one for each offset."""
    made, profile = PartitionRows(partition, first, last), UNKNOWN
    for offset in range(last + 1):
        event = rating("ann", "novel", NOON + offset)
        profile = fold(profile, event, Position(1, offset))
        if offset >= first and profile.activity is not None:
            made.events.append(Entry(offset, "ann", event))
            made.activities.append(Entry(offset, "ann", profile.activity))
    return made


def test_a_replay_with_other_boundaries_writes_nothing_twice(
    store: FeatureStore, workspace: Workspace
) -> None:
    log = OfflineLog(workspace, store, CATALOGUE, "replay", 7)
    log.append(rows(0, 9))
    again = OfflineLog(workspace, store, CATALOGUE, "replay", 7)
    assert again.covered("events", 0) == 9
    for batch in (rows(0, 3), rows(4, 12), rows(10, 12)):
        again.append(batch)
    assert [row["event_count"] for row in offline_rows(workspace, "user_activity")] == list(range(1, 14))
    assert [row["offset"] for row in offline_rows(workspace, "events")] == list(range(13))


def test_a_file_says_what_it_covers_and_is_never_rewritten(
    store: FeatureStore, workspace: Workspace
) -> None:
    folder = workspace.offline / "events"
    log = OfflineLog(workspace, store, CATALOGUE, "names", 0xABC)
    log.append(rows(0, 4, partition=3))
    (path,) = folder.glob("names-*")
    assert path.name == "names-00000abc-3-0-4.parquet"
    written = path.stat().st_mtime_ns
    log.append(rows(0, 4, partition=3))
    assert path.stat().st_mtime_ns == written
    assert list(folder.glob("names-*")) == [path]


def test_another_topic_or_cluster_begins_at_nothing(store: FeatureStore, workspace: Workspace) -> None:
    OfflineLog(workspace, store, CATALOGUE, "one", 1).append(rows(0, 4))
    assert OfflineLog(workspace, store, CATALOGUE, "one", 1).covered("events", 0) == 4
    for topic, origin in (("two", 1), ("one", 2)):
        assert OfflineLog(workspace, store, CATALOGUE, topic, origin).covered("events", 0) == -1


def test_a_part_that_was_cut_short_is_not_counted(store: FeatureStore, workspace: Workspace) -> None:
    folder: Path = workspace.offline / "events"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".cut-00000001-0-0-99.partial").write_bytes(b"PAR1")
    assert OfflineLog(workspace, store, CATALOGUE, "cut", 1).covered("events", 0) == -1
