"""What every item sink promises, on the small shop, and that plain Feast reads what it writes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier, Thread

import pytest
import yaml
from feast import FeatureStore

from feature_repo.store import apply, configuration
from feature_repo.workspace import Workspace
from streaming.errors import LayoutError, RewoundError, SinkError
from streaming.item_sink import GuardedItems, ItemChange, ItemSink, MemoryItems
from streaming.popularity import UNUSED, Popularity, Use, add
from streaming.sink import FeatureSink, GuardedSink
from streaming.stores.port import Move
from tests.servers import running_redis
from tests.shop import CATALOGUE, shop_workspace
from tests.streams import DAY, NOON

HALF_LIFE_DAYS = CATALOGUE.half_life_days


@pytest.fixture(scope="module")
def redis_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    """The shop's feature store over a Redis of our own."""
    with running_redis() as address:
        yield apply(shop_workspace(tmp_path_factory.mktemp("redis")), address)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def applied(request: pytest.FixtureRequest) -> FeatureStore:
    """A feature store of each kind."""
    found: FeatureStore = request.getfixturevalue("store" if request.param == "sqlite" else "redis_store")
    return found


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def sink(request: pytest.FixtureRequest) -> ItemSink:
    """One sink of each kind."""
    if request.param == "memory":
        return MemoryItems()
    store = request.getfixturevalue("store" if request.param == "sqlite" else "redis_store")
    return GuardedItems(store, CATALOGUE)


def used(*uses: Use) -> Popularity:
    """The popularity after these uses."""
    return add(UNUSED, uses, HALF_LIFE_DAYS)


def test_an_item_never_used_has_an_empty_row(sink: ItemSink) -> None:
    assert sink.read(["nothing", "neither"]) == {"nothing": UNUSED, "neither": UNUSED}
    assert sink.read([]) == {}
    assert sink.positions([]) == {}
    sink.move({})


def test_what_is_written_is_read_back_exactly(sink: ItemSink) -> None:
    many = {
        f"ünïcode/{number}": used((1 << 47, number, NOON + number * 77), (3, 1, NOON), (4, 9, None))
        for number in range(1_200)
    }
    assert sink.write({item: ItemChange(UNUSED, row) for item, row in many.items()}) == set()
    assert sink.read(many) == many


def test_who_writes_on_a_row_that_has_moved_on_is_refused(sink: ItemSink) -> None:
    base = used((1, 1, NOON))
    assert sink.write({"raced": ItemChange(UNUSED, base)}) == set()
    theirs = add(base, [(2, 5, NOON + 1)], HALF_LIFE_DAYS)
    mine = add(base, [(1, 2, NOON + 2)], HALF_LIFE_DAYS)
    assert sink.write({"raced": ItemChange(base, theirs)}) == set()
    bystander = used((1, 3, NOON))
    assert sink.write({"raced": ItemChange(base, mine), "bystander": ItemChange(UNUSED, bystander)}) == {
        "raced"
    }
    assert sink.write({"raced": ItemChange(UNUSED, mine)}) == {"raced"}
    assert sink.read(["raced", "bystander"]) == {"raced": theirs, "bystander": bystander}


def test_positions_move_on_and_never_back_nor_on_from_what_was_lost(sink: ItemSink) -> None:
    assert sink.positions([11, 12]) == {}
    sink.move({11: Move(-1, 100), 12: Move(-1, 7)})
    sink.move({11: Move(100, 150), 12: Move(3, 5)})
    assert sink.positions([11, 12, 13]) == {11: 150, 12: 7}
    with pytest.raises(RewoundError) as rewound:
        sink.move({11: Move(200, 300), 12: Move(7, 8), 13: Move(0, 1)})
    assert rewound.value.positions == {11: 150, 13: -1}
    assert sink.positions([11, 12, 13]) == {11: 150, 12: 8}


def test_positions_are_others_than_the_users(applied: FeatureStore) -> None:
    items: ItemSink = GuardedItems(applied, CATALOGUE)
    users: FeatureSink = GuardedSink(applied, CATALOGUE)
    source = (1 << 48) - 1
    items.move({source: Move(-1, 5)})
    assert users.positions([source]) == {}
    users.move({source: Move(-1, 9)})
    assert items.positions([source]) == {source: 5}


def test_plain_feast_reads_the_row(applied: FeatureStore) -> None:
    row = used((1, 0, NOON), (1, 1, NOON - 10 * DAY), (2, 0, NOON + 10 * DAY))
    GuardedItems(applied, CATALOGUE).write({"plain": ItemChange(UNUSED, row)})
    features = [
        f"item_activity:{field.name}" for field in applied.get_feature_view("item_activity").features
    ]
    found = applied.get_online_features(features, [{"item_id": "plain"}]).to_dict()
    assert found == {
        "item_id": ["plain"],
        "item_event_count": [3],
        "popularity": [1.75],
        "item_last_event_ms": [NOON + 10 * DAY],
        "source_partitions": [[1, 2]],
        "source_offsets": [[1, 0]],
        "source_counts": [[2, 1]],
        "source_masses": [[1.5, 1.0]],
        "source_last_ms": [[NOON, NOON + 10 * DAY]],
    }


def test_racing_writers_lose_no_event(applied: FeatureStore) -> None:
    writers, events = 4, 25
    begun = Barrier(writers)

    def count(source: int) -> None:
        sink = GuardedItems(applied, CATALOGUE)
        begun.wait()
        for offset in range(events):
            rejected = {"hot"}
            while rejected:
                before = sink.read(["hot"])["hot"]
                after = add(before, [(source, offset, NOON + offset)], HALF_LIFE_DAYS)
                rejected = sink.write({"hot": ItemChange(before, after)})

    threads = [Thread(target=count, args=[source]) for source in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    row = GuardedItems(applied, CATALOGUE).read(["hot"])["hot"]
    assert (row.sources, row.counts) == (tuple(range(writers)), (events,) * writers)
    expected = UNUSED
    for source in range(writers):
        uses = [(source, offset, NOON + offset) for offset in range(events)]
        expected = add(expected, uses, HALF_LIFE_DAYS)
    assert row == expected


def test_a_store_of_another_version_says_what_to_run(workspace: Workspace, store: FeatureStore) -> None:
    plain = configuration(workspace) | {"online_store": {"type": "sqlite", "path": str(workspace.online)}}
    path = workspace.root / "plain.yaml"
    path.write_text(yaml.safe_dump(plain))
    with pytest.raises(LayoutError, match="kindling apply"):
        GuardedItems(FeatureStore(fs_yaml_file=path), CATALOGUE)


@pytest.mark.redis
def test_a_store_that_is_down_is_an_error_that_says_so(tmp_path: Path) -> None:
    with running_redis() as address:
        items = GuardedItems(apply(shop_workspace(tmp_path), address), CATALOGUE)
    calls: list[Callable[[], object]] = [
        lambda: items.read(["green"]),
        lambda: items.write({"green": ItemChange(UNUSED, used((1, 1, NOON)))}),
        lambda: items.positions([1]),
        lambda: items.move({1: Move(-1, 1)}),
    ]
    for call in calls:
        with pytest.raises(SinkError, match="is it running"):
            call()
