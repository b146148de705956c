"""What a guarded SQLite promises beyond other stores: it takes over Feast's files, and shares its own."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from feast import FeatureStore

from feature_repo.store import apply, configuration, declarations
from feature_repo.workspace import Workspace
from tests.guarded import FEATURES, Guarded, guard, values, write_of
from tests.shop import shop_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """The small shop, loaded."""
    return shop_workspace(tmp_path)


@pytest.fixture
def guarded(workspace: Workspace) -> Guarded:
    """A guarded store in a file of its own."""
    return Guarded(apply(workspace))


@pytest.fixture
def beside(guarded: Guarded, workspace: Workspace) -> Iterator[sqlite3.Connection]:
    """Another connection to the same file."""
    connection = sqlite3.connect(workspace.online, isolation_level=None)
    yield connection
    connection.close()


def apply_plain(workspace: Workspace) -> FeatureStore:
    """The feature store as it was before its online store was guarded."""
    settings = configuration(workspace)
    settings["online_store"]["type"] = "sqlite"
    workspace.offline.mkdir(parents=True)
    workspace.feature_store_yaml.write_text(yaml.safe_dump(settings))
    store = FeatureStore(fs_yaml_file=workspace.feature_store_yaml)
    store.apply(declarations(workspace))
    return store


def layouts(connection: sqlite3.Connection) -> set[bool]:
    """Whether tables of features are one tree each."""
    tables = connection.execute(
        "SELECT sql FROM sqlite_master WHERE name LIKE 'kindling_user_%' AND type = 'table'"
    )
    return {"WITHOUT ROWID" in sql for (sql,) in tables}


def test_tables_that_feast_made_are_written_as_they_are(workspace: Workspace) -> None:
    apply_plain(workspace)
    guarded = Guarded(apply(workspace))
    assert guarded.write(write_of("ann", 1, {1: 1})) == []
    assert guarded.write(write_of("ann", 2, {1: 2}, guard({1: 1})), write_of("ann ", 1, {1: 1})) == []
    assert guarded.read("ann") == [values(2, {1: 2})]
    with sqlite3.connect(workspace.online) as connection:
        assert layouts(connection) == {False}
    connection.close()


def test_tables_of_our_own_are_one_tree_and_stay_so(
    workspace: Workspace, guarded: Guarded, beside: sqlite3.Connection
) -> None:
    guarded.write(write_of("ann", 1, {1: 1}))
    apply(workspace)
    assert layouts(beside) == {True}
    assert guarded.read("ann") == [values(1, {1: 1})]


def test_text_that_feast_keeps_for_searches_does_not_grow_stale(
    guarded: Guarded, beside: sqlite3.Connection
) -> None:
    guarded.write(write_of("ann", 1, {1: 1}))
    beside.execute("UPDATE kindling_user_activity SET value_text = '1' WHERE feature_name = 'event_count'")
    guarded.write(write_of("ann", 2, {1: 2}, guard({1: 1})))
    assert beside.execute("SELECT DISTINCT value_text FROM kindling_user_activity").fetchall() == [(None,)]


def test_what_was_written_is_synced(guarded: Guarded) -> None:
    guarded.write(write_of("ann", 1, {1: 1}))
    assert guarded.online._guarded.execute("PRAGMA synchronous").fetchone() == (2,)
    assert guarded.online.durable_after_s(guarded.config) == 0.0


def test_a_batch_that_fails_leaves_nothing(guarded: Guarded, beside: sqlite3.Connection) -> None:
    beside.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON kindling_user_activity "
        "WHEN new.value = x'2002' BEGIN SELECT raise(FAIL, 'refused'); END"
    )
    with pytest.raises(guarded.online.failures, match="refused"):
        guarded.write(write_of("ann", 1, {1: 1}), write_of("bob", 2, {1: 1}))
    assert guarded.read("ann", "bob") == [[None] * len(FEATURES)] * 2
    assert guarded.write(write_of("ann", 1, {1: 1})) == []


def test_a_writer_waits_for_another(guarded: Guarded, beside: sqlite3.Connection) -> None:
    guarded.read("ann")
    guarded.online._guarded.execute("PRAGMA busy_timeout=0")
    beside.execute("BEGIN IMMEDIATE")
    with pytest.raises(guarded.online.failures, match="locked"):
        guarded.write(write_of("ann", 1, {1: 1}))
    beside.execute("ROLLBACK")
    assert guarded.write(write_of("ann", 1, {1: 1})) == []


def test_positions_go_with_the_rows(workspace: Workspace, guarded: Guarded) -> None:
    guarded.write(write_of("ann", 1, {1: 1}))
    guarded.move({1: (-1, 2)})
    guarded.online.update(
        guarded.config, [guarded.store.get_feature_view("item_content")], [], [], [], False
    )
    assert guarded.positions(1) == {1: 2}
    guarded.online.update(guarded.config, [guarded.view], [], [], [], False)
    assert guarded.positions(1) == {}
    guarded.store.teardown()
    assert not list(workspace.root.glob("online.db*"))


def test_projects_in_one_file_stand_for_themselves(guarded: Guarded) -> None:
    guarded.move({1: (-1, 2)})
    other = guarded.store.config.model_copy(update={"project": "other"})
    assert guarded.online.read_positions(other, [1]) == {}
