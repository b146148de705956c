"""A Redis that falls silent, goes and comes back, as whoever reads profiles from it sees it."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from feature_repo.store import apply
from service.call import Call
from service.metrics import Metrics
from service.read.profile import ProfileReader
from service.read.profiles import Profiles
from service.read.rows import StoreRows
from tests.servers import free_port, running_redis
from tests.shop import CATALOGUE, shop_workspace
from tests.waiting import eventually

pytestmark = pytest.mark.redis

LIMIT_S = 0.1


@contextmanager
def silent(port: int) -> Iterator[None]:
    """The Redis on `port` accepts connections and answers nothing."""
    client: Any = redis.Redis(port=port)
    process = int(client.info("server")["process_id"])
    client.close()
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def test_readers_wait_briefly_then_not_at_all_and_find_the_store_again(tmp_path: Path) -> None:
    port = free_port()
    store = apply(shop_workspace(tmp_path), f"127.0.0.1:{port}")
    rows = StoreRows(store, ProfileReader(CATALOGUE).columns(store))
    with closing(Profiles(rows, CATALOGUE, Metrics(), LIMIT_S)) as profiles:
        with running_redis("--port", str(port)):
            assert not profiles.read(["ann"], Call()).degraded
            with silent(port):
                started = time.monotonic()
                reading = profiles.read(["ann"], Call())
                assert reading.degraded
                assert LIMIT_S / 2 < time.monotonic() - started < 50 * LIMIT_S
                while profiles.is_up:
                    profiles.read(["ann"], Call())
                assert profiles.read(["ann"], Call()).degraded
            assert eventually(lambda: profiles.is_up)
            assert not profiles.read(["ann"], Call()).degraded
        while profiles.is_up:
            assert profiles.read(["ann"], Call()).degraded
        with running_redis("--port", str(port)):
            assert eventually(lambda: profiles.is_up)
            assert not profiles.read(["ann"], Call()).degraded
