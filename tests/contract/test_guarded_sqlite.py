"""What a guarded SQLite promises beyond other stores: it takes over Feast's files, and shares its own."""

import sqlite3
from collections.abc import Iterator
from copy import copy
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from feast import FeatureStore, Field
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Int64

from feature_repo.keys import user_key
from feature_repo.store import apply, configuration, declarations
from feature_repo.workspace import Workspace
from streaming.stores.port import Write
from tests.guarded import AT_NS, FEATURES, VIEW, Guarded, guard, number, plain_reader, values, write_of
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


def kinds(connection: sqlite3.Connection, view: str) -> dict[str, str]:
    """What there is in the file for a view, by name: tables and views."""
    select = "SELECT name, type FROM sqlite_master WHERE name LIKE ? AND type IN ('table', 'view')"
    return dict(connection.execute(select, (f"kindling_{view}%",)).fetchall())


def features_of(store: FeatureStore, user: str) -> tuple[datetime | None, dict[str, Value] | None]:
    """Timestamp and values of a user's activity, as this store's own online store reads them."""
    key = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user)])
    view = store.get_feature_view(VIEW)
    ((at, row),) = store.provider.online_read(store.config, view, [key], None)
    return at, row


def test_rows_that_feast_wrote_are_taken_over(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    plain = apply_plain(workspace)
    key = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val="ann")])
    cells = {name: Value.FromString(raw) for name, raw in zip(FEATURES, values(1, {1: 1}), strict=True)}
    view = plain.get_feature_view(VIEW)
    at = datetime.fromtimestamp(1_750_000_000, UTC)
    plain.provider.online_write_batch(plain.config, view, [(key, cells, at, None)], None)
    before = features_of(plain, "ann")
    assert before == (at, cells)

    guarded = Guarded(apply(workspace))
    reader = plain_reader(guarded.store, tmp_path_factory.mktemp("reader"))
    assert features_of(reader, "ann") == features_of(guarded.store, "ann") == before
    assert guarded.write(write_of("ann", 2, {1: 2}, guard({1: 1})), write_of("ann ", 1, {1: 1})) == []
    assert guarded.read("ann") == [values(2, {1: 2})]
    assert features_of(reader, "nobody") == (None, None)


def test_a_file_of_another_layout_is_taken_over_by_the_first_write(workspace: Workspace) -> None:
    apply_plain(workspace)
    settings = configuration(workspace)
    workspace.feature_store_yaml.write_text(yaml.safe_dump(settings))
    guarded = Guarded(FeatureStore(fs_yaml_file=workspace.feature_store_yaml))
    assert guarded.write(write_of("ann", 1, {1: 1})) == []
    assert guarded.read("ann") == [values(1, {1: 1})]


def test_only_guarded_views_are_laid_out_so_and_stay_so(
    workspace: Workspace, guarded: Guarded, beside: sqlite3.Connection
) -> None:
    guarded.write(write_of("ann", 1, {1: 1}))
    apply(workspace)
    assert kinds(beside, VIEW) == {f"kindling_{VIEW}": "view", f"kindling_{VIEW}_rows": "table"}
    assert kinds(beside, "user_augmented") == {"kindling_user_augmented": "table"}
    assert guarded.read("ann") == [values(1, {1: 1})]


def test_a_feature_that_joins_the_view_has_a_column_from_then_on(
    workspace: Workspace, guarded: Guarded, tmp_path: Path
) -> None:
    guarded.write(write_of("ann", 1, {1: 1}))
    grown = copy(guarded.view)
    grown.features = [*guarded.view.features, Field(name='it\'s "new"', dtype=Int64)]
    guarded.online.update(guarded.config, [], [grown], [], [], False)
    guarded.view = grown
    write = Write(user_key("ann"), guard({1: 1}), [number(7), *guard({1: 2})], AT_NS)
    features = ['it\'s "new"', "source_partitions", "source_offsets"]
    assert guarded.write(write, features=features) == []
    assert guarded.read("ann", features=features) == [[number(7), *guard({1: 2})]]
    _, seen = features_of(plain_reader(guarded.store, tmp_path), "ann")
    assert seen is not None and seen['it\'s "new"'].int64_val == 7 and seen["event_count"].int64_val == 1


def test_plain_feast_cannot_write_past_the_guard(guarded: Guarded, tmp_path: Path) -> None:
    reader = plain_reader(guarded.store, tmp_path)
    key = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val="ann")])
    row = (key, {"event_count": Value(int64_val=9)}, datetime.now(UTC), None)
    with pytest.raises(sqlite3.OperationalError, match="view"):
        reader.provider.online_write_batch(reader.config, guarded.view, [row], None)


def test_what_was_written_is_synced(guarded: Guarded) -> None:
    guarded.write(write_of("ann", 1, {1: 1}))
    with guarded.online._transaction(guarded.config) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert guarded.online.durable_after_s(guarded.config) == 0.0


def test_a_batch_that_fails_leaves_nothing(guarded: Guarded, beside: sqlite3.Connection) -> None:
    beside.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON kindling_user_activity_rows "
        "WHEN new.value_event_count = x'2002' BEGIN SELECT raise(FAIL, 'refused'); END"
    )
    with pytest.raises(guarded.online.failures, match="refused"):
        guarded.write(write_of("ann", 1, {1: 1}), write_of("bob", 2, {1: 1}))
    assert guarded.read("ann", "bob") == [[None] * len(FEATURES)] * 2
    assert guarded.write(write_of("ann", 1, {1: 1})) == []


def test_a_writer_waits_for_another(guarded: Guarded, beside: sqlite3.Connection) -> None:
    guarded.read("ann")
    with guarded.online._transaction(guarded.config) as connection:
        connection.execute("PRAGMA busy_timeout=0")
    beside.execute("BEGIN IMMEDIATE")
    with pytest.raises(guarded.online.failures, match="locked"):
        guarded.write(write_of("ann", 1, {1: 1}))
    beside.execute("ROLLBACK")
    assert guarded.write(write_of("ann", 1, {1: 1})) == []


def test_positions_go_with_the_rows(
    workspace: Workspace, guarded: Guarded, beside: sqlite3.Connection
) -> None:
    guarded.write(write_of("ann", 1, {1: 1}))
    guarded.move({1: (-1, 2)})
    guarded.online.update(
        guarded.config, [guarded.store.get_feature_view("item_content")], [], [], [], False
    )
    assert guarded.positions(1) == {1: 2}
    guarded.online.update(guarded.config, [guarded.view], [], [], [], False)
    assert guarded.positions(1) == {}
    assert kinds(beside, VIEW) == {}
    beside.close()
    guarded.store.teardown()
    assert not list(workspace.root.glob("online.db*"))


def test_projects_in_one_file_stand_for_themselves(guarded: Guarded) -> None:
    guarded.move({1: (-1, 2)})
    other = guarded.store.config.model_copy(update={"project": "other"})
    assert guarded.online.read_positions(other, [1]) == {}
