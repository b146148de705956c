"""A Redis that restarts between the rows of a batch and its position, and has lost the rows."""

from pathlib import Path

import pytest

from feature_repo.store import apply
from streaming.errors import RewoundError
from streaming.fold import Fold
from streaming.item_sink import GuardedItems
from streaming.position import Position
from streaming.profile import UNKNOWN
from streaming.sink import Change, GuardedSink
from streaming.stores.port import Move
from tests.fault.servers import Redis
from tests.shop import CATALOGUE, ITEMS, shop_workspace
from tests.streams import NOON, rating

pytestmark = [pytest.mark.redis, pytest.mark.parametrize("kept", [True, False])]

fold = Fold(CATALOGUE, ITEMS)


def test_the_position_does_not_pass_rows_that_may_be_lost(tmp_path: Path, kept: bool) -> None:
    with Redis(tmp_path / "redis") as redis:
        store = apply(shop_workspace(tmp_path / "shop"), redis.address)
        users, items = GuardedSink(store, CATALOGUE), GuardedItems(store, CATALOGUE)
        for sink in (users, items):
            sink.begin()
            sink.move({1: Move(-1, 1)})
            sink.begin()
        after = fold(UNKNOWN, rating("ann", "green", NOON), Position(1, 1))
        assert users.write({"ann": Change(UNKNOWN, after)}) == set()
        redis.kill()
        if not kept:
            redis.lose_tail(1.0)
        redis.start()
        for sink in (users, items):
            with pytest.raises(RewoundError) as caught:
                sink.move({1: Move(1, 2)})
            stands = 1 if kept else -1
            assert caught.value.positions == {1: stands}
            # Whoever begins again from there may move on.
            sink.begin()
            sink.move({1: Move(stands, 2)})
            assert sink.positions([1]) == {1: 2}
