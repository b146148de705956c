"""What a guarded Redis promises beyond other stores: lost scripts, dying servers, expiry."""

import math
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import redis
from google.protobuf.timestamp_pb2 import Timestamp

from feature_repo.store import apply
from tests.guarded import AT_NS, FEATURES, VIEW, Guarded, guard, values, write_of
from tests.servers import running_redis
from tests.shop import shop_workspace

pytestmark = pytest.mark.redis


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a Redis of our own."""
    with running_redis() as address:
        yield address


@pytest.fixture
def guarded(server: str, tmp_path: Path) -> Guarded:
    """A guarded store on it."""
    return Guarded(apply(shop_workspace(tmp_path), server))


def client_of(address: str) -> Any:
    """A client of the server itself."""
    host, port = address.split(":")
    return redis.Redis(host=host, port=int(port))


def test_a_script_that_redis_forgot_is_given_again(guarded: Guarded, server: str) -> None:
    guarded.write(write_of("ann", 1, {1: 1}))
    client_of(server).script_flush()
    writes = [write_of("ann", 2, {1: 2}, guard({1: 1})), write_of("bob", 1, {1: 1}, guard({1: 1}))]
    assert guarded.write(*writes) == [1]
    assert guarded.read("ann") == [values(2, {1: 2})]
    client_of(server).config_resetstat()
    assert guarded.write(write_of("bob", 1, {1: 1})) == []
    assert "cmdstat_eval" not in client_of(server).info("commandstats")


def test_rows_keep_their_nanoseconds(guarded: Guarded, server: str) -> None:
    guarded.write(write_of("ann", 1, {1: 1}))
    [key] = client_of(server).scan_iter(b"*ann*")
    stamp = Timestamp.FromString(client_of(server).hget(key, f"_ts:{VIEW}"))
    assert stamp.ToNanoseconds() == AT_NS


def test_a_server_that_dies_mid_way_is_an_error(guarded: Guarded, server: str) -> None:
    pid = client_of(server).info("server")["process_id"]
    guarded.write(write_of("before", 1, {1: 1}))
    os.kill(pid, signal.SIGSTOP)
    raised: list[Exception] = []

    def write() -> None:
        try:
            guarded.write(*(write_of(f"user-{number}", 1, {1: 1}) for number in range(20_000)))
        except guarded.online.failures as error:
            raised.append(error)

    # More than the sockets hold, so that the writer is in the middle when the server dies.
    writer = Thread(target=write)
    writer.start()
    wait_until_blocked(guarded)
    os.kill(pid, signal.SIGKILL)
    writer.join()
    assert [type(error) for error in raised] == [redis.ConnectionError]
    with pytest.raises(guarded.online.failures):
        guarded.read("before")


def test_a_server_that_falls_silent_is_an_error(server: str, tmp_path: Path) -> None:
    guarded = Guarded(apply(shop_workspace(tmp_path), f"{server},socket_timeout=0.2"))
    guarded.write(write_of("ann", 1, {1: 1}))
    pid = client_of(server).info("server")["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(redis.TimeoutError):
            guarded.write(write_of("ann", 2, {1: 2}, guard({1: 1})))
    finally:
        os.kill(pid, signal.SIGCONT)
    # What was sent may have arrived; its late reply must answer nothing else.
    [row] = guarded.read("ann")
    assert row in (values(1, {1: 1}), values(2, {1: 2}))
    assert guarded.write(write_of("eve", 1, {1: 1})) == []


def test_an_error_in_the_middle_is_raised_and_the_connection_stays_in_step(
    guarded: Guarded, server: str
) -> None:
    guarded.write(write_of("ann", 1, {1: 1}))
    [key] = client_of(server).scan_iter(b"*ann*")
    client_of(server).set(key.replace(b"ann", b"bob"), "no hash")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        guarded.write(*(write_of(user, 1, {1: 1}) for user in ("bob", "eve")))
    assert guarded.read("ann", "eve") == [values(1, {1: 1})] * 2


def test_rows_expire_as_configured(server: str, tmp_path: Path) -> None:
    store = apply(shop_workspace(tmp_path), server)
    store.config.online_store.key_ttl_seconds = 500
    guarded = Guarded(store)
    guarded.write(write_of("ann", 1, {1: 1}))
    [key] = client_of(server).scan_iter(b"*ann*")
    assert 0 < client_of(server).ttl(key) <= 500


def test_durability_is_what_redis_is_configured_for(guarded: Guarded, server: str) -> None:
    client = client_of(server)

    def promised(**settings: str) -> float:
        for name, value in settings.items():
            client.config_set(name, value)
        seconds: float = guarded.online.durable_after_s(guarded.config)
        return seconds

    assert promised(appendonly="no") == math.inf
    assert promised(appendonly="yes", appendfsync="everysec") == 3.0
    assert promised(appendfsync="always") == 0.0
    assert promised(appendfsync="no") == 60.0
    # A server that is still writing its first such file would not stop.
    assert promised(appendonly="no") == math.inf
    guarded.config.online_store.durable_after_s = 7.5
    assert promised() == 7.5


def test_a_redis_that_does_not_tell_is_taken_to_sync_every_second(guarded: Guarded, server: str) -> None:
    client_of(server).acl_setuser("default", enabled=True, nopass=True, commands=["-config"])
    assert guarded.online.durable_after_s(guarded.config) == 3.0


def test_positions_go_with_the_rows(guarded: Guarded, server: str) -> None:
    guarded.write(write_of("ann", 1, {1: 1}))
    guarded.move({1: (-1, 2)})
    guarded.online.update(
        guarded.config, [guarded.store.get_feature_view("item_content")], [], [], [], False
    )
    assert guarded.positions(1) == {1: 2}
    guarded.online.update(guarded.config, [guarded.view], [], [], [], False)
    assert (guarded.positions(1), guarded.read("ann")) == ({}, [[None] * len(FEATURES)])
    guarded.move({1: (-1, 2)})
    guarded.store.teardown()
    assert client_of(server).dbsize() == 0


def wait_until_blocked(guarded: Guarded) -> None:
    """Until the store's connection takes no more bytes."""
    pool = guarded.online._get_client(guarded.config.online_store).connection_pool
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for connection in pool._in_use_connections:
            if connection._sock and not select.select([], [connection._sock], [], 0)[1]:
                return
    raise AssertionError("the writer never waited for the server")
