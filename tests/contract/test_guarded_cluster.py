"""Guarded rows and positions on a Redis Cluster: a script a key, moving slots, and a master's own loss."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from feast import FeatureStore
from redis.crc import key_slot

from feature_repo.keys import user_key
from feature_repo.store import apply, configuration
from tests.guarded import FEATURES, Guarded, guard, plain_reader, values, write_of
from tests.servers import SLOTS, running_redis_cluster
from tests.shop import shop_workspace

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def masters() -> Iterator[list[Any]]:
    """A client of each of three masters."""
    with running_redis_cluster() as addresses:
        yield [redis.Redis(port=int(address.split(":")[1])) for address in addresses]


@pytest.fixture
def guarded(masters: list[Any], tmp_path: Path) -> Guarded:
    """A guarded store on the cluster, empty."""
    for master in masters:
        master.flushall()
    workspace = shop_workspace(tmp_path)
    apply(workspace)
    ports = [master.connection_pool.connection_kwargs["port"] for master in masters]
    settings = configuration(workspace, ",".join(f"127.0.0.1:{port}" for port in ports))
    settings["online_store"]["redis_type"] = "redis_cluster"
    workspace.feature_store_yaml.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return Guarded(FeatureStore(fs_yaml_file=workspace.feature_store_yaml))


def rows_of(guarded: Guarded) -> Any:
    """The reader that answers requests."""
    return guarded.online.rows(guarded.config, [(guarded.view, FEATURES)])


def test_rows_are_judged_one_by_one_wherever_they_lie(
    guarded: Guarded, masters: list[Any], tmp_path: Path
) -> None:
    users = [f"user-{number}" for number in range(2_000)]
    stale = set(range(0, len(users), 7))
    guarded.write(*(write_of(users[place], 1, {1: 1}) for place in stale))
    assert set(guarded.write(*(write_of(user, 2, {1: 2}) for user in users))) == stale
    expected = [values(1, {1: 1}) if place in stale else values(2, {1: 2}) for place in range(len(users))]
    assert guarded.read(*users) == expected
    assert rows_of(guarded).read([user_key(user) for user in users], 10.0) == expected
    assert all(master.dbsize() > 0 for master in masters)
    (tmp_path / "plain").mkdir()
    reader = plain_reader(guarded.store, tmp_path / "plain")
    answer = reader.get_online_features(
        ["user_activity:event_count"], [{"user_id": user} for user in users[:10]]
    )
    assert answer.to_dict()["event_count"] == [1, 2, 2, 2, 2, 2, 2, 1, 2, 2]


def test_positions_only_go_forward_and_keep_to_their_floors(guarded: Guarded) -> None:
    assert guarded.move({1: (-1, 5), 2: (-1, 0)}) == {}
    assert guarded.move({1: (5, 3)}) == {}
    assert guarded.positions(1, 2, 3) == {1: 5, 2: 0}
    assert guarded.move({1: (6, 8), 2: (0, 8), 3: (1, 8)}) == {1: 5, 3: -1}
    assert guarded.positions(1, 2, 3) == {1: 5, 2: 8}


@pytest.mark.parametrize("index", range(3))
def test_what_one_master_lost_is_folded_again(guarded: Guarded, masters: list[Any], index: int) -> None:
    guarded.move({1: (-1, 5), 2: (-1, 5)})
    earlier = {key: masters[index].hgetall(key) for key in masters[index].scan_iter("kindling:positions:*")}
    assert earlier
    guarded.move({1: (5, 9)})
    for key, positions in earlier.items():
        masters[index].hset(key, mapping=positions)
    assert guarded.positions(1, 2) == {1: 5, 2: 5}
    assert guarded.move({1: (9, 12), 2: (5, 6)}) == {1: 5}
    # From where it stands, all masters come to one position again.
    assert guarded.move({1: (5, 13)}) == {}
    assert guarded.positions(1, 2) == {1: 13, 2: 6}


def test_a_master_that_lost_everything_is_seen(guarded: Guarded, masters: list[Any]) -> None:
    guarded.move({1: (-1, 5)})
    masters[1].flushall()
    assert guarded.positions(1) == {}
    assert guarded.move({1: (5, 9)}) == {1: -1}


def test_rows_follow_their_slot_while_it_moves_and_after(guarded: Guarded, masters: list[Any]) -> None:
    still_here, already_there, new = users = [f"{{moving}}-{number}" for number in range(3)]
    keys = [user_key(user) + b"kindling" for user in users]
    slot = key_slot(keys[0])
    giver = next(index for index in range(3) if slot < (index + 1) * SLOTS // 3)
    taker = (giver + 1) % 3
    names = [master.execute_command("CLUSTER MYID") for master in masters]
    guarded.write(write_of(still_here, 1, {1: 1}), write_of(already_there, 1, {1: 1}))

    masters[taker].execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[giver])
    masters[giver].execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[taker])
    port = masters[taker].connection_pool.connection_kwargs["port"]
    masters[giver].execute_command("MIGRATE", "127.0.0.1", port, keys[1], 0, 5_000)
    second = [write_of(user, 2, {1: 2}, guard({1: 1})) for user in users]
    assert guarded.write(*second) == [2]
    assert guarded.write(write_of(new, 2, {1: 2})) == []
    assert guarded.read(*users) == [values(2, {1: 2})] * 3
    reader = rows_of(guarded)
    assert reader.read([user_key(user) for user in users], 10.0) == [values(2, {1: 2})] * 3

    masters[giver].execute_command("MIGRATE", "127.0.0.1", port, keys[0], 0, 5_000)
    for master in (masters[taker], masters[giver]):
        master.execute_command("CLUSTER SETSLOT", slot, "NODE", names[taker])
    third = [write_of(user, 3, {1: 3}, guard({1: 2})) for user in users]
    assert (guarded.write(*third), guarded.write(*third)) == ([], [0, 1, 2])
    assert reader.read([user_key(user) for user in users], 10.0) == [values(3, {1: 3})] * 3
    assert guarded.read(*users) == [values(3, {1: 3})] * 3
    assert all(masters[taker].exists(key) for key in keys)


def test_a_cluster_is_as_durable_as_its_least_durable_master(guarded: Guarded, masters: list[Any]) -> None:
    for master in masters[:2]:
        master.config_set("appendonly", "yes")
    try:
        assert guarded.online.durable_after_s(guarded.config) == math.inf
        masters[2].config_set("appendonly", "yes")
        assert guarded.online.durable_after_s(guarded.config) == 3.0
    finally:
        for master in masters:
            master.config_set("appendonly", "no")  # or it would not stop before its first file is written
