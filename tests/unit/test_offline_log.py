"""The offline log knows what it holds."""

from pathlib import Path

import pyarrow.parquet as pq

from feature_repo.event_log import folder
from feature_repo.workspace import Workspace
from streaming.event import UserEvent
from streaming.offline_log import OfflineLog, Span
from streaming.parts import Part, parts_in
from streaming.position import source
from tests.streams import NOON, rating, sign_up

Placed = list[tuple[int, UserEvent]]


def ratings(first: int, last: int, user: str = "ann") -> Placed:
    """One rating at each offset."""
    return [(offset, rating(user, "novel", NOON + offset)) for offset in range(first, last + 1)]


def offsets(workspace: Workspace) -> list[int]:
    """All offsets in the log, as the files hold them."""
    return sorted(pq.read_table(folder(workspace))["offset"].to_pylist())


def test_a_replay_with_other_boundaries_writes_nothing_twice(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    OfflineLog(workspace, "replay", 7).append(0, 0, 9, ratings(0, 9))
    again = OfflineLog(workspace, "replay", 7)
    assert again.covered(0) == 9
    for first, last in ((0, 3), (4, 12), (10, 12)):
        again.append(0, first, last, ratings(first, last))
    assert offsets(workspace) == list(range(13))


def test_a_file_says_what_it_covers_and_is_never_rewritten(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    log = OfflineLog(workspace, "names", 0xABC)
    log.append(3, 0, 4, ratings(1, 3))  # dead letters at 0 and 4
    (part,) = parts_in(folder(workspace))
    assert part.path.name == "names-00000abc-3-0-4.parquet"
    assert part == Part("names", 0xABC, 3, 0, 4, part.path)
    assert part.source == source(0xABC, 3)
    written = part.path.stat().st_mtime_ns
    log.append(3, 0, 4, ratings(1, 3))
    assert part.path.stat().st_mtime_ns == written
    assert parts_in(folder(workspace)) == [part]


def test_a_row_is_the_event_and_where_it_was_read(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    signed = sign_up("ann", NOON, age=31.0, city="York")
    OfflineLog(workspace, "rows", 5).append(2, 7, 8, [(7, signed), *ratings(8, 8)])
    first, second = pq.read_table(folder(workspace)).to_pylist()
    assert (first["user_id"], first["type"], first["item_id"]) == ("ann", "signup", None)
    assert first["attributes"] == '{"age":31.0,"city":"York"}'
    assert int(second["event_time"].timestamp() * 1000) == NOON + 8
    assert (second["item_id"], second["value"], second["attributes"]) == ("novel", 5.0, None)
    assert [(row["source"], row["offset"]) for row in (first, second)] == [
        (5 << 16 | 2, 7),
        (5 << 16 | 2, 8),
    ]


def test_another_topic_or_cluster_begins_at_nothing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    OfflineLog(workspace, "one", 1).append(0, 0, 4, ratings(0, 4))
    assert OfflineLog(workspace, "one", 1).covered(0) == 4
    for topic, origin in (("two", 1), ("one", 2), ("one-00000001", 0)):
        assert OfflineLog(workspace, topic, origin).covered(0) == -1


def test_a_part_that_was_cut_short_is_not_counted(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    folder(workspace).mkdir(parents=True)
    (folder(workspace) / ".cut-00000001-0-0-99.partial").write_bytes(b"PAR1")
    assert OfflineLog(workspace, "cut", 1).covered(0) == -1


def test_several_partitions_are_written_at_once(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    log = OfflineLog(workspace, "several", 1)
    log.append_all([Span(0, 0, 4, ratings(0, 4)), Span(1, 7, 9, ratings(7, 9)), Span(2, 3, 3, [])])
    assert [log.covered(partition) for partition in range(3)] == [4, 9, -1]
    log.append_all([])
    assert [(part.partition, part.first, part.last) for part in parts_in(folder(workspace))] == [
        (0, 0, 4),
        (1, 7, 9),
    ]
