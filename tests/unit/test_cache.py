"""The cache of profiles."""

from collections.abc import Collection

from streaming.cache import ProfileCache
from streaming.profile import UNKNOWN, Profile
from streaming.sink import MemorySink


class CountingSink(MemorySink):
    """Notes whom it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[set[str]] = []

    def read(self, users: Collection[str]) -> dict[str, Profile]:
        """As the sink does."""
        self.asked.append(set(users))
        return super().read(users)


def test_only_those_who_are_not_kept_are_read_from_the_store() -> None:
    sink = CountingSink()
    cache = ProfileCache(sink, capacity=2)
    cache.keep({"ann": UNKNOWN, "bob": UNKNOWN})
    assert cache.read({"ann", "bob"}) == {"ann": UNKNOWN, "bob": UNKNOWN}
    assert sink.asked == []
    cache.keep({"ann": UNKNOWN})
    cache.keep({"cy": UNKNOWN})  # bob was used longest ago
    cache.read({"ann", "bob", "cy"})
    assert sink.asked == [{"bob"}]


def test_after_clearing_everyone_is_read_again() -> None:
    sink = CountingSink()
    cache = ProfileCache(sink, capacity=2)
    cache.keep({"ann": UNKNOWN})
    cache.clear()
    cache.read({"ann"})
    assert sink.asked == [{"ann"}]
