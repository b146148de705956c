"""Writers race for the same rows of a guarded store, and every addition counts once."""

from collections.abc import Callable, Iterator, Sequence
from threading import Barrier, Thread

import pytest
from feast import FeatureStore
from feast.protos.feast.types.Value_pb2 import Value

from feature_repo.store import apply
from streaming.stores.port import NO_ROW, Write
from tests.guarded import FEATURES, Guarded, guard, write_of
from tests.servers import running_redis
from tests.shop import shop_workspace

_WRITERS = 3
_ROUNDS = 20
_USERS = [f"racer-{number}" for number in range(5)]

Writing = Callable[[Guarded, Sequence[Write], Callable[[], object]], list[int]]


@pytest.fixture(scope="module")
def redis_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    """The shop's feature store over a Redis of our own."""
    with running_redis() as address:
        yield apply(shop_workspace(tmp_path_factory.mktemp("redis")), address)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def guarded(request: pytest.FixtureRequest) -> Guarded:
    """One guarded store of each kind."""
    return Guarded(request.getfixturevalue("store" if request.param == "sqlite" else "redis_store"))


def race(guarded: Guarded, prefix: str, write: Writing) -> list[int]:
    """What the rows count after writers have each added one to each of them, `_ROUNDS` times.

    Args:
        write: writes guarded; it is to call the function it is given once it has looked at the rows.
    """
    users = [prefix + user for user in _USERS]
    first = Barrier(_WRITERS)
    failures: list[Exception] = []

    def add(writer: int) -> None:
        try:
            mine = guarded.another()
            for round_ in range(_ROUNDS):
                behind = users
                meet: Callable[[], object] = first.wait if round_ == 0 else bool
                while behind:
                    writes = [
                        raised(*read, writer) for read in zip(behind, mine.read(*behind), strict=True)
                    ]
                    refused = write(mine, writes, meet)
                    behind, meet = [behind[index] for index in refused], bool
        except Exception as error:  # noqa: BLE001
            first.abort()
            failures.append(error)

    threads = [Thread(target=add, args=(writer,)) for writer in range(_WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    return [Value.FromString(count or b"").int64_val for count, *_ in guarded.read(*users)]


def raised(user: str, stored: Sequence[bytes | None], writer: int) -> Write:
    """The row with one more counted, and `writer`'s own source moved on."""
    count, _, _, sources, offsets = (Value.FromString(value or b"") for value in stored)
    at = dict(zip(sources.int64_list_val.val, offsets.int64_list_val.val, strict=True))
    expected = guard(at) if at else NO_ROW
    return write_of(user, count.int64_val + 1, {**at, writer: at.get(writer, -1) + 1}, expected)


def write_guarded(store: Guarded, writes: Sequence[Write], meet: Callable[[], object]) -> list[int]:
    """The store's own way."""
    meet()
    return store.write(*writes)


def write_by_reading_first(
    store: Guarded, writes: Sequence[Write], meet: Callable[[], object]
) -> list[int]:
    """A broken guard: what is compared may change before it is written."""
    columns = [(store.view, FEATURES[-2:])]
    rows = store.online.read_raw(store.config, columns, [write.key for write in writes])
    same = [
        tuple(value or b"" for value in stored) == write.expected
        for stored, write in zip(rows, writes, strict=True)
    ]
    meet()
    store.write_unguarded(*(write for write, is_same in zip(writes, same, strict=True) if is_same))
    return [index for index, is_same in enumerate(same) if not is_same]


def test_racing_writers_lose_nothing(guarded: Guarded) -> None:
    assert race(guarded, "guarded-", write_guarded) == [_WRITERS * _ROUNDS] * len(_USERS)


def test_the_race_catches_a_guard_that_reads_before_it_writes(guarded: Guarded) -> None:
    assert min(race(guarded, "mutant-", write_by_reading_first)) < _WRITERS * _ROUNDS
