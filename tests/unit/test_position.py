"""Positions in the stream."""

from streaming.fold import Fold
from streaming.position import Position, is_folded, origin, source
from streaming.profile import UNKNOWN
from tests.shop import CATALOGUE, ITEMS
from tests.streams import NOON, rating

fold = Fold(CATALOGUE, ITEMS)


def test_what_is_at_or_before_the_last_offset_is_folded() -> None:
    profile = fold(UNKNOWN, rating("ann", "novel", NOON), Position(7, 40))
    assert [is_folded(profile.activity, Position(7, offset)) for offset in (39, 40, 41)] == [
        True,
        True,
        False,
    ]


def test_each_source_has_an_offset_of_its_own() -> None:
    profile = UNKNOWN
    for at in (Position(7, 40), Position(8, 3), Position(7, 41)):
        profile = fold(profile, rating("ann", "novel", NOON), at)
    assert profile.activity is not None
    assert (profile.activity.sources, profile.activity.offsets) == ((7, 8), (41, 3))
    assert not is_folded(profile.activity, Position(8, 4))


def test_another_cluster_or_topic_or_partition_is_another_source() -> None:
    tags = [origin("a", "events"), origin("b", "events"), origin("a", "other")]
    assert len({source(tag, partition) for tag in tags for partition in range(4)}) == 12
    assert all(0 <= source(tag, 65_535) < 1 << 48 for tag in tags)


def test_nothing_is_folded_into_nobody() -> None:
    assert not is_folded(None, Position(7, 0))
