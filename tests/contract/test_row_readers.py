"""What every reader of raw rows promises: the bytes that plain Feast reads, in time, whoever else reads."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import StringList, Value

from feature_repo.keys import user_key
from feature_repo.store import apply
from service.read.rows import FeastRows, MemoryRows, Rows, StoreRows, StoreUnavailable, rows_of
from streaming.stores.port import NO_ROW, Unguarded, Write
from tests.guarded import AT_NS, guard, number, plain_reader, write_of
from tests.servers import running_redis
from tests.shop import shop_workspace

ACTIVITY = ["event_count", "affinity", "recent_items"]
ATTRIBUTES = ["city", "age"]
LIMIT_S = 10.0


@pytest.fixture(scope="module")
def redis_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    """The shop's feature store over a Redis of our own."""
    with running_redis() as address:
        yield apply(shop_workspace(tmp_path_factory.mktemp("redis")), address)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def shop(request: pytest.FixtureRequest) -> FeatureStore:
    """One guarded store of each kind; `u0` to `u19` did things, every other one of them signed up."""
    store: FeatureStore = request.getfixturevalue("store" if request.param == "sqlite" else "redis_store")
    online, config = store.provider.online_store, store.config
    users = [write_of(f"u{count}", count, {1: count}) for count in range(20)]
    features = [*ACTIVITY, "source_partitions", "source_offsets"]
    online.write_guarded(config, store.get_feature_view("user_activity"), features, users)
    declared = [
        Write(user_key(f"u{count}"), NO_ROW, [city("Bath"), b"", *guard({1: count})], AT_NS)
        for count in range(0, 20, 2)
    ]
    features = [*ATTRIBUTES, "source_partitions", "source_offsets"]
    online.write_guarded(config, store.get_feature_view("user_attributes"), features, declared)
    return store


def city(name: str) -> bytes:
    return Value(string_val=name).SerializeToString()


def columns(store: FeatureStore) -> list[tuple[Any, list[str]]]:
    return [
        (store.get_feature_view("user_activity"), ACTIVITY),
        (store.get_feature_view("user_attributes"), ATTRIBUTES),
    ]


def as_feast_reads(store: FeatureStore, user: str) -> list[bytes]:
    """Serialized values by Feast's own read, empty where there is none."""
    key = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user)])
    cells = []
    for view, names in columns(store):
        ((_, row),) = store.provider.online_read(store.config, view, [key], list(names))
        cells += [row[name].SerializeToString() if row and name in row else b"" for name in names]
    return cells


def cells_of(rows: Rows, *users: str) -> list[list[bytes]]:
    return [[cell or b"" for cell in row] for row in rows.read(users, LIMIT_S)]


@pytest.mark.parametrize("kind", [StoreRows, FeastRows])
def test_rows_are_what_plain_feast_reads_byte_for_byte(
    shop: FeatureStore, tmp_path: Path, kind: type[StoreRows] | type[FeastRows]
) -> None:
    plain = plain_reader(shop, tmp_path)
    users = ["u3", "nobody", "u4", "u3", "u19", "ü'\"", "u0"]
    with closing(kind(shop, columns(shop))) as rows:
        assert cells_of(rows, *users) == [as_feast_reads(plain, user) for user in users]
        assert cells_of(rows, "u4")[0][0] == number(4)


def test_the_fast_way_is_taken_where_there_is_one(shop: FeatureStore, tmp_path: Path) -> None:
    plain = plain_reader(shop, tmp_path)
    with closing(rows_of(shop, columns(shop))) as fast, closing(rows_of(plain, columns(plain))) as slow:
        assert (type(fast), type(slow)) == (StoreRows, FeastRows)
        assert cells_of(fast, "u6", "u7") == cells_of(slow, "u6", "u7")
        memory = MemoryRows({"u6": fast.read(["u6"], LIMIT_S)[0]}, 5)
        assert cells_of(memory, "u6", "nobody") == cells_of(slow, "u6", "nobody")


def test_threads_that_read_at_once_get_their_own_users_rows(shop: FeatureStore) -> None:
    with closing(StoreRows(shop, columns(shop))) as rows, ThreadPoolExecutor(8) as threads:

        def counts(thread: int) -> bool:
            picked = [(thread * 7 + step) % 20 for step in range(200)]
            return all(
                [row[0] for row in cells_of(rows, f"u{a}", f"u{b}")] == [number(a), number(b)]
                for a, b in zip(picked, reversed(picked), strict=True)
            )

        assert all(threads.map(counts, range(8)))


def test_no_time_left_is_an_error_at_once(shop: FeatureStore) -> None:
    with closing(StoreRows(shop, columns(shop))) as rows:
        with pytest.raises(StoreUnavailable, match="did not answer"):
            rows.read([f"u{count}" for count in range(20)], 0.0)
        assert cells_of(rows, "u5")[0][0] == number(5)


def test_a_newer_row_wins_however_late_it_is_written(shop: FeatureStore) -> None:
    online, view = shop.provider.online_store, shop.get_feature_view("user_augmented")
    features = ["rung", "virtual_items"]

    def row(rung: str, seconds: int) -> Unguarded:
        items = Value(string_list_val=StringList(val=["green"])).SerializeToString()
        return Unguarded(user_key("filled"), [city(rung), items], AT_NS + seconds * 1_000_000_000)

    stored = []
    for rung, seconds in [("first", 0), ("third", 20), ("second", 10)]:
        online.write_newer(shop.config, view, features, [row(rung, seconds)])
        with closing(StoreRows(shop, [(view, features)])) as rows:
            stored.append(cells_of(rows, "filled")[0][0])
    assert stored == [city("first"), city("third"), city("third")]


# A Redis that is away


@contextmanager
def stopped(address: str) -> Iterator[None]:
    """The Redis at `address` accepts connections and answers nothing."""
    client: Any = redis.Redis(port=int(address.split(":")[1]))
    pid = int(client.info("server")["process_id"])
    client.close()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
def away(redis_store: FeatureStore) -> Iterator[tuple[str, Rows]]:
    address = redis_store.config.online_store.connection_string
    online, view = redis_store.provider.online_store, redis_store.get_feature_view("user_activity")
    features = [*ACTIVITY, "source_partitions", "source_offsets"]
    online.write_unguarded(
        redis_store.config, view, features, [write_of(f"u{n}", n, {1: n}) for n in (1, 2)]
    )
    with closing(StoreRows(redis_store, columns(redis_store))) as rows:
        rows.read(["u1"], LIMIT_S)
        yield address, rows


@pytest.mark.redis
def test_a_reply_that_came_too_late_answers_nobody_else(away: tuple[str, Rows]) -> None:
    address, rows = away
    with stopped(address):
        for _ in range(2):  # over the open connection, then over a new one
            with pytest.raises(StoreUnavailable):
                rows.read(["u1"], 0.05)
    assert cells_of(rows, "u2")[0][0] == number(2)


@pytest.mark.redis
def test_connections_that_the_server_closed_are_opened_anew(away: tuple[str, Rows]) -> None:
    address, rows = away
    client = redis.Redis(port=int(address.split(":")[1]))
    client.client_kill_filter(_type="normal", skipme=True)
    assert cells_of(rows, "u1", "u2")[1][0] == number(2)
    client.close()


@pytest.mark.redis
def test_a_server_that_is_gone_is_said_at_once_and_found_again(tmp_path: Path) -> None:
    with running_redis() as address:
        store = apply(shop_workspace(tmp_path), address)
        rows = StoreRows(store, columns(store))
        assert rows.read(["u1"], LIMIT_S) == [[None] * 5]
    with pytest.raises(StoreUnavailable):
        rows.read(["u1"], LIMIT_S)
    with running_redis("--port", address.split(":")[1]):
        assert rows.read(["u1"], LIMIT_S) == [[None] * 5]
    rows.close()


@pytest.mark.redis
def test_what_the_server_refuses_is_told_apart_from_a_row(tmp_path: Path) -> None:
    with running_redis("--requirepass", "secret") as address:
        store = apply(shop_workspace(tmp_path), f"{address},password=secret")
        with closing(StoreRows(store, columns(store))) as rows:
            assert rows.read(["u1"], LIMIT_S) == [[None] * 5]
            client = redis.Redis(port=int(address.split(":")[1]), password="secret")
            key = user_key("u1") + store.config.project.encode()
            client.set(key, "no hash")
            with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
                rows.read(["u2", "u1"], LIMIT_S)
            assert rows.read(["u2"], LIMIT_S) == [[None] * 5]
            client.close()
