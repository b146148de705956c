"""Backfill: history folded again equals what was folded live, or the difference is found."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from feature_repo.store import apply
from feature_repo.tombstones import Tombstone, Tombstones
from feature_repo.workspace import Workspace
from kindling.cli.app import app, register
from streaming.backfill import BackfillError, fold_log, fold_topic, prepare
from streaming.broker.choice import write_address
from streaming.broker.embedded import EmbeddedBroker
from streaming.broker.port import Broker
from streaming.comparison import compare, differ
from streaming.consumer import Consumer
from streaming.item_sink import GuardedItems
from streaming.position import origin, source
from streaming.producer import Producer
from streaming.profile import UNKNOWN, Profile
from streaming.sink import Change, GuardedSink
from tests.servers import running_redis
from tests.shop import CATALOGUE, ITEMS, shop_workspace
from tests.streams import assert_same, oracle, stream

pytestmark = pytest.mark.timeout(120)

EVENTS = stream(seed=31, users=20, events=400)
EVENTS += EVENTS[-15:]  # sent twice
USERS = {event.user_id for event in EVENTS}
ORACLE = oracle(EVENTS[:-15])


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with EmbeddedBroker() as started:
        yield started


@pytest.fixture(scope="module")
def live(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace that a consumer has folded the events into."""
    workspace = shop_workspace(tmp_path_factory.mktemp("live"))
    store = apply(workspace)
    with Producer(broker) as producer:
        producer.send(EVENTS)
    with Consumer(
        broker, store, CATALOGUE, ITEMS, workspace, batch_events=90, session_seconds=3.5
    ) as consumer:
        consumer.run(lambda counters: counters.lag == 0)
    write_address(broker, workspace.root / "broker.json")
    return workspace


def sink(workspace: Workspace) -> GuardedSink:
    return GuardedSink(apply(workspace), CATALOGUE)


def nothing() -> None:
    """Nothing came meanwhile."""


def test_the_log_folded_again_equals_the_live_features(live: Workspace, tmp_path: Path) -> None:
    fresh = Workspace(tmp_path)
    store = prepare(live, fresh)
    again = GuardedSink(store, CATALOGUE)
    replayed = fold_log(live, CATALOGUE, ITEMS, store)
    assert (replayed.folded, replayed.skipped) == (len(EVENTS) - 15, 15)
    found = compare([live], sink(live), again, nothing)
    assert (found.users, found.partial, found.differences) == (len(USERS), 0, [])
    for user, profile in again.read(USERS).items():
        assert_same(profile, ORACLE[user])
    # Once more there is nothing to fold, and a consumer would go on from there.
    assert fold_log(live, CATALOGUE, ITEMS, prepare(live, fresh)).folded == 0


def test_items_are_counted_again_as_well(live: Workspace, broker: Broker, tmp_path: Path) -> None:
    counted = GuardedItems(apply(live), CATALOGUE).read(ITEMS.ids)
    assert sum(item.event_count for item in counted.values()) == sum(
        event.item_id is not None for event in EVENTS[:-15]
    )
    for kind in ("log", "topic"):
        fresh = Workspace(tmp_path / kind)
        store = prepare(live, fresh)
        if kind == "log":
            fold_log(live, CATALOGUE, ITEMS, store)
        else:
            fold_topic(broker, "events", fresh, store, CATALOGUE, ITEMS)
        again = GuardedItems(store, CATALOGUE).read(ITEMS.ids)
        for item in ITEMS.ids:
            assert again[item].event_count == counted[item].event_count
            masses = [each[item].mass(CATALOGUE.half_life_days) for each in (again, counted)]
            assert masses[0] == pytest.approx(masses[1])


def test_the_topic_folded_again_equals_the_live_features(
    live: Workspace, broker: Broker, tmp_path: Path
) -> None:
    fresh = Workspace(tmp_path)
    store = prepare(live, fresh)
    assert fold_topic(broker, "events", fresh, store, CATALOGUE, ITEMS)
    again = GuardedSink(store, CATALOGUE)
    assert compare([live, fresh], sink(live), again, nothing).differences == []
    tag = origin(broker.cluster_id, "events")
    sources = [source(tag, number) for number in range(4)]
    assert again.positions(sources) == sink(live).positions(sources)


def test_from_a_time_on_users_with_a_longer_history_are_not_compared(
    live: Workspace, broker: Broker, tmp_path: Path
) -> None:
    fresh = Workspace(tmp_path)
    store = prepare(live, fresh)
    far_ahead = 4_000_000_000_000
    assert not fold_topic(broker, "events", fresh, store, CATALOGUE, ITEMS, since_ms=far_ahead)
    found = compare([live], sink(live), GuardedSink(store, CATALOGUE), nothing, whole=False)
    active = sum(profile.activity is not None for profile in ORACLE.values())
    assert found.partial == active


def test_every_kind_of_difference_is_found(live: Workspace, tmp_path: Path) -> None:
    store = prepare(live, Workspace(tmp_path))
    fold_log(live, CATALOGUE, ITEMS, store)
    again = GuardedSink(store, CATALOGUE)
    user = next(user for user, profile in ORACLE.items() if profile.activity and profile.attributes)
    before = again.read([user])[user]
    assert before.activity is not None
    assert before.attributes is not None
    changed = Profile(
        msgspec.structs.replace(
            before.activity,
            event_count=before.activity.event_count + 1,
            offsets=(999,) * len(before.activity.offsets),
        ),
        msgspec.structs.replace(before.attributes, values=(77.0, "York"), offsets=(999,)),
    )
    assert again.write({user: Change(before, changed)}) == set()
    caught_up = []
    found = compare([live], sink(live), again, lambda: caught_up.append(1))
    assert [(each.user_id, each.feature) for each in found.differences] == [
        (user, "event_count"),
        (user, "values"),
    ]
    assert caught_up


def test_a_user_who_is_missing_differs_in_everything() -> None:
    profile = next(profile for profile in ORACLE.values() if profile.activity and profile.attributes)
    features = {each.feature for each in differ("ann", profile, UNKNOWN)}
    assert {"event_count", "affinity", "recent_items", "signed_up_ms", "values"} <= features
    assert list(differ("ann", profile, profile)) == []
    assert list(differ("ann", UNKNOWN, UNKNOWN)) == []


def test_floats_may_differ_by_their_rounding_alone() -> None:
    profile = next(profile for profile in ORACLE.values() if profile.activity)
    assert profile.activity is not None
    total = profile.activity.value_sum
    for value_sum, names in ((total * (1 + 1e-12), []), (total + 1e-6, ["value_sum"])):
        other = Profile(msgspec.structs.replace(profile.activity, value_sum=value_sum), profile.attributes)
        assert [each.feature for each in differ("ann", profile, other)] == names


def test_who_moves_on_while_being_compared_is_looked_at_again(live: Workspace, tmp_path: Path) -> None:
    store = prepare(live, Workspace(tmp_path))
    again = GuardedSink(store, CATALOGUE)
    # As if all of it had come after the backfill.
    found = compare([live], sink(live), again, lambda: fold_log(live, CATALOGUE, ITEMS, store))
    assert found.differences == []


def test_an_erased_user_is_not_folded_again(live: Workspace, broker: Broker, tmp_path: Path) -> None:
    user, tag = EVENTS[0].user_id, origin(broker.cluster_id, "events")
    erased = shop_workspace(tmp_path / "erased")
    apply(erased)
    shutil.copytree(live.offline / "events", erased.offline / "events", dirs_exist_ok=True)
    Tombstones(erased).add(Tombstone(user, 0, {source(tag, number): 10_000 for number in range(4)}))
    for kind in ("log", "topic"):
        fresh = Workspace(tmp_path / kind)
        store = prepare(erased, fresh)
        again = GuardedSink(store, CATALOGUE)
        if kind == "log":
            fold_log(erased, CATALOGUE, ITEMS, store)
        else:
            fold_topic(broker, "events", fresh, store, CATALOGUE, ITEMS)
        found = again.read(USERS)
        assert found.pop(user) == UNKNOWN
        assert UNKNOWN not in found.values()


@pytest.mark.redis
def test_into_redis_beside_a_live_redis(live: Workspace, tmp_path: Path) -> None:
    with running_redis() as address:
        fresh = Workspace(tmp_path / "fresh")
        store = prepare(live, fresh, f"{address},db=1")
        fold_log(live, CATALOGUE, ITEMS, store)
        again = GuardedSink(store, CATALOGUE)
        assert compare([live], sink(live), again, nothing).differences == []
        with pytest.raises(BackfillError, match="--redis holds folded features already"):
            prepare(live, Workspace(tmp_path / "other"), f"{address},db=1")
        with pytest.raises(BackfillError, match="--redis is the live online store"):
            prepare(fresh, Workspace(tmp_path / "more"), f"{address},db=1")


def test_only_a_folder_of_its_own_is_filled(live: Workspace, tmp_path: Path) -> None:
    with pytest.raises(BackfillError, match="is the live workspace"):
        prepare(live, live)
    (tmp_path / "something").touch()
    with pytest.raises(BackfillError, match="is not empty, and no backfill"):
        prepare(live, Workspace(tmp_path))


def test_the_command_proves_it_or_lists_what_differs(live: Workspace, tmp_path: Path) -> None:
    register()
    command = ["backfill", "--var", str(live.root), "--into", str(tmp_path), "--compare"]
    for more in ([], ["--from-kafka"]):
        done = CliRunner().invoke(app, [*command, *more])
        assert done.exit_code == 0, done.output
        assert f"features of all {len(USERS)} users are equal" in done.output
    store = sink(Workspace(tmp_path))
    before = store.read(["user-1"])["user-1"]
    assert before.attributes is not None
    moved = msgspec.structs.replace(before.attributes, values=(1.0, "Hull"))
    assert not store.write({"user-1": Change(before, Profile(before.activity, moved))})
    failed = CliRunner().invoke(app, command)
    assert failed.exit_code == 1
    assert "user-1" in failed.output
    assert f"1 of {len(USERS)} users differ" in failed.output
