"""Whose events were erased, and up to where."""

from pathlib import Path

import pytest

from feature_repo.tombstones import Tombstone, TombstoneError, Tombstones, copy_tombstones
from feature_repo.workspace import Workspace


def test_events_up_to_the_tombstone_are_covered_and_later_ones_are_not(tmp_path: Path) -> None:
    tombstones = Tombstones(Workspace(tmp_path))
    assert not tombstones
    tombstones.add(Tombstone("ann", 1, {7: 4, 8: 0}))
    assert len(tombstones) == 1
    assert [tombstones.covers("ann", 7, offset) for offset in (0, 4, 5)] == [True, True, False]
    assert not tombstones.covers("ann", 9, 0)
    assert not tombstones.covers("bob", 7, 0)
    assert (tombstones.of("ann"), tombstones.of("bob")) == ({7: 4, 8: 0}, {})


def test_a_user_erased_twice_is_erased_up_to_the_later(tmp_path: Path) -> None:
    tombstones = Tombstones(Workspace(tmp_path))
    tombstones.add(Tombstone("ann", 1, {7: 4}))
    tombstones.add(Tombstone("ann", 2, {7: 2, 8: 9}))
    assert tombstones.of("ann") == {7: 4, 8: 9}


def test_another_process_sees_it_when_it_looks_again(tmp_path: Path) -> None:
    ours, theirs = Tombstones(Workspace(tmp_path)), Tombstones(Workspace(tmp_path))
    theirs.add(Tombstone("ünïcode 用户", 1, {1: 1}))
    assert not ours.covers("ünïcode 用户", 1, 1)
    ours.refresh()
    assert ours.covers("ünïcode 用户", 1, 1)


def test_a_line_cut_short_does_not_count_and_gives_way_to_the_next(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    Tombstones(workspace).add(Tombstone("ann", 1, {7: 4}))
    path = workspace.offline / "tombstones.jsonl"
    path.write_bytes(path.read_bytes() + b'{"user_id": "bo')
    again = Tombstones(workspace)
    assert len(again) == 1
    again.add(Tombstone("cy", 1, {7: 4}))
    assert [user for user in ("ann", "bo", "cy") if Tombstones(workspace).covers(user, 7, 4)] == [
        "ann",
        "cy",
    ]


def test_a_damaged_file_is_not_read_past(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.offline.mkdir()
    (workspace.offline / "tombstones.jsonl").write_bytes(b"{}\n")
    with pytest.raises(TombstoneError, match=r"tombstones.jsonl, at byte 0.*restore"):
        Tombstones(workspace)


def test_a_copy_knows_the_same(tmp_path: Path) -> None:
    origin, target = Workspace(tmp_path / "a"), Workspace(tmp_path / "b")
    copy_tombstones(origin, target)
    assert not Tombstones(target)
    Tombstones(origin).add(Tombstone("ann", 1, {7: 4}))
    copy_tombstones(origin, target)
    assert Tombstones(target).covers("ann", 7, 4)
