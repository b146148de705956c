"""What every guarded online store promises: to plain Feast, to writers, and about positions."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from feature_repo.keys import user_key
from feature_repo.store import apply
from streaming.stores.port import NO_ROW, Write
from tests.guarded import (
    AT_NS,
    FEATURES,
    VIEW,
    Guarded,
    Positions,
    guard,
    number,
    plain_reader,
    values,
    write_of,
)
from tests.servers import running_redis
from tests.shop import shop_workspace


@pytest.fixture(scope="module")
def redis_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    """The shop's feature store over a Redis of our own."""
    with running_redis() as address:
        yield apply(shop_workspace(tmp_path_factory.mktemp("redis")), address)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def guarded(request: pytest.FixtureRequest) -> Guarded:
    """One guarded store of each kind."""
    return Guarded(request.getfixturevalue("store" if request.param == "sqlite" else "redis_store"))


# What plain Feast sees


def test_a_plain_reader_sees_what_was_written(guarded: Guarded, tmp_path: Path) -> None:
    assert guarded.write(write_of("plain", 7, {3: 5})) == []
    reader = plain_reader(guarded.store, tmp_path)
    assert type(reader.provider.online_store) is not type(guarded.online)
    references = [f"{VIEW}:{feature}" for feature in FEATURES]
    answer = reader.get_online_features(references, [{"user_id": "plain"}, {"user_id": "nobody"}]).to_dict()
    assert answer["event_count"] == [7, None]
    assert answer["affinity"] == [[0.5, 7.0], None]
    assert answer["recent_items"] == [["tea", "item-7"], None]
    assert answer["source_offsets"] == [[5], None]


def test_a_row_is_as_feast_would_have_written_it(guarded: Guarded, tmp_path: Path) -> None:
    reader = plain_reader(guarded.store, tmp_path)
    keys = [
        EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user)])
        for user in ("ours", "theirs")
    ]
    stored = {
        name: Value.FromString(value) for name, value in zip(FEATURES, values(4, {1: 2}), strict=True)
    }
    at = datetime.fromtimestamp(AT_NS // 1_000_000_000, UTC)
    theirs_too = [(keys[1], stored, at, None)]
    guarded.store.provider.online_write_batch(guarded.config, guarded.view, theirs_too, None)
    guarded.write(write_of("ours", 4, {1: 2}, at_ns=AT_NS // 1_000_000_000 * 1_000_000_000))
    ours, theirs = reader.provider.online_read(reader.config, guarded.view, keys, list(FEATURES))
    assert ours == theirs
    assert guarded.read("ours") == guarded.read("theirs") == [values(4, {1: 2})]


def test_a_row_that_feast_wrote_is_guarded_as_well(guarded: Guarded, tmp_path: Path) -> None:
    key = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val="materialized")])
    stored = {
        name: Value.FromString(value) for name, value in zip(FEATURES, values(4, {1: 2}), strict=True)
    }
    guarded.store.provider.online_write_batch(
        guarded.config, guarded.view, [(key, stored, datetime.now(UTC), None)], None
    )
    assert guarded.write(write_of("materialized", 5, {1: 3})) == [0]
    assert guarded.write(write_of("materialized", 5, {1: 3}, guard({1: 2}))) == []
    assert guarded.read("materialized") == [values(5, {1: 3})]


def test_a_feature_that_joined_later_is_written_too(guarded: Guarded) -> None:
    earlier = [feature for feature in FEATURES if feature != "affinity"]
    count, _, items, *at = values(1, {1: 1})
    guarded.write(Write(user_key("grown"), NO_ROW, [count, items, *at], AT_NS), features=earlier)
    assert guarded.read("grown")[0][1] is None
    assert guarded.write(write_of("grown", 2, {1: 2}, guard({1: 1}))) == []
    assert guarded.read("grown") == [values(2, {1: 2})]


def test_a_feature_that_is_not_written_stays(guarded: Guarded) -> None:
    guarded.write(write_of("kept", 1, {1: 1}))
    features = ["event_count", "source_partitions", "source_offsets"]
    guarded.write(
        Write(user_key("kept"), guard({1: 1}), [number(2), *guard({1: 2})], AT_NS),
        features=features,
    )
    assert guarded.read("kept") == [[number(2), *values(1, {})[1:3], *guard({1: 2})]]


# The guard


def test_a_row_is_made_only_where_there_is_none(guarded: Guarded) -> None:
    assert guarded.write(write_of("fresh", 1, {1: 1})) == []
    assert guarded.write(write_of("fresh", 2, {1: 2})) == [0]
    assert guarded.read("fresh") == [values(1, {1: 1})]


def test_a_row_is_replaced_only_if_it_is_what_was_read(guarded: Guarded) -> None:
    guarded.write(write_of("stale", 1, {1: 1}))
    assert guarded.write(write_of("stale", 2, {1: 2}, guard({1: 1}))) == []
    assert guarded.write(write_of("stale", 9, {1: 9}, guard({1: 1}))) == [0]
    assert guarded.read("stale") == [values(2, {1: 2})]


@pytest.mark.parametrize("other", [{2: 8, 1: 7}, {1: 7}, {1: 7, 2: 9}, {1: 7, 3: 8}, {}])
def test_any_other_position_is_refused(guarded: Guarded, other: Positions) -> None:
    user = f"ordered-{other}"
    guarded.write(write_of(user, 1, {1: 7, 2: 8}))
    assert guarded.write(write_of(user, 2, {1: 9, 2: 9}, guard(other))) == [0]
    assert guarded.read(user) == [values(1, {1: 7, 2: 8})]


def test_a_row_that_is_gone_is_not_brought_back(guarded: Guarded) -> None:
    guarded.write(write_of("gone", 1, {1: 1}))
    guarded.online.delete(guarded.config, guarded.view, user_key("gone"))
    assert guarded.read("gone") == [[None] * len(FEATURES)]
    assert guarded.write(write_of("gone", 2, {1: 2}, guard({1: 1}))) == [0]
    assert guarded.read("gone") == [[None] * len(FEATURES)]
    assert guarded.write(write_of("gone", 1, {1: 1})) == []


def test_deleting_a_row_leaves_other_views_and_users(guarded: Guarded) -> None:
    attributes = guarded.store.get_feature_view("user_attributes")
    features = ["signed_up_ms", "source_partitions", "source_offsets"]
    key = user_key("left")
    stored = [number(1), *guard({1: 1})]
    guarded.online.write_guarded(guarded.config, attributes, features, [Write(key, NO_ROW, stored, AT_NS)])
    guarded.write(write_of("left", 1, {1: 1}), write_of("right", 1, {1: 1}))
    guarded.online.delete(guarded.config, guarded.view, key)
    guarded.online.delete(guarded.config, guarded.view, user_key("never was"))
    both = [(guarded.view, FEATURES), (attributes, features)]
    (row,) = guarded.online.read_raw(guarded.config, both, [key])
    assert list(row) == [*[None] * len(FEATURES), *stored]
    assert guarded.read("left", "right") == [[None] * len(FEATURES), values(1, {1: 1})]


def test_each_row_of_a_large_batch_is_judged_on_its_own(guarded: Guarded) -> None:
    users = [f"many-{place}" for place in range(10_000)]
    stale = set(range(0, len(users), 7))
    guarded.write(*(write_of(users[place], 1, {1: 1}) for place in stale))
    assert set(guarded.write(*(write_of(user, 2, {1: 2}) for user in users))) == stale
    expected = [values(1, {1: 1}) if place in stale else values(2, {1: 2}) for place in range(len(users))]
    assert guarded.read(*users) == expected


def test_nothing_is_asked_for(guarded: Guarded) -> None:
    assert (guarded.write(), guarded.read(), guarded.positions(), guarded.move({})) == ([], [], {}, {})


# Positions


def test_positions_only_go_forward(guarded: Guarded) -> None:
    assert guarded.positions(11, 12) == {}
    assert guarded.move({11: (-1, 5), 12: (-1, 0)}) == {}
    assert guarded.move({11: (5, 3)}) == {}
    assert guarded.positions(11, 12, 13) == {11: 5, 12: 0}
    assert guarded.move({11: (2, 9)}) == {}
    assert guarded.positions(11) == {11: 9}


def test_a_position_below_its_floor_stays_and_is_told(guarded: Guarded) -> None:
    guarded.move({21: (-1, 5), 22: (-1, 5)})
    assert guarded.move({21: (6, 8), 22: (5, 8), 23: (1, 8)}) == {21: 5, 23: -1}
    assert guarded.positions(21, 22, 23) == {21: 5, 22: 8}


def test_a_floor_can_be_checked_without_moving(guarded: Guarded) -> None:
    guarded.move({31: (-1, 5)})
    assert guarded.move({31: (5, 5), 32: (-1, -1)}) == {}
    assert guarded.move({31: (6, 6)}) == {31: 5}
    assert guarded.positions(31, 32) == {31: 5}


def test_positions_are_large_numbers(guarded: Guarded) -> None:
    source, offset = (1 << 48) - 1, (1 << 53) - 1
    guarded.move({source: (-1, offset)})
    assert guarded.positions(source) == {source: offset}
    assert guarded.move({source: (offset + 1, offset + 1)}) == {source: offset}
