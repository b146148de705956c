"""What every feature sink promises, on the small shop."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from feast import FeatureStore

from feature_repo.store import apply, configuration
from feature_repo.workspace import Workspace
from streaming.errors import LayoutError, RewoundError, SinkError
from streaming.fold import Fold
from streaming.position import Position
from streaming.profile import UNKNOWN, Profile
from streaming.sink import Change, FeatureSink, GuardedSink, MemorySink
from streaming.stores.port import Move
from tests.servers import running_redis
from tests.shop import CATALOGUE, ITEMS, shop_workspace
from tests.streams import NOON, rating, sign_up

fold = Fold(CATALOGUE, ITEMS)


@pytest.fixture(scope="module")
def redis_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    """The shop's feature store over a Redis of our own."""
    with running_redis() as address:
        yield apply(shop_workspace(tmp_path_factory.mktemp("redis")), address)


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def sink(request: pytest.FixtureRequest) -> FeatureSink:
    """One sink of each kind."""
    if request.param == "memory":
        return MemorySink()
    store = request.getfixturevalue("store" if request.param == "sqlite" else "redis_store")
    return GuardedSink(store, CATALOGUE)


def profile_of(user: str, events: int, start: int = NOON) -> Profile:
    """A profile with every field filled."""
    profile = fold(UNKNOWN, sign_up(user, start, age=31.5), Position(1 << 40, 0))
    for number in range(1, events + 1):
        item = ITEMS.ids[number % len(ITEMS)]
        profile = fold(profile, rating(user, item, start + number, 3.3), Position(1 << 40, number))
    return profile


def fresh(profiles: Mapping[str, Profile]) -> dict[str, Change]:
    """Changes that make `profiles` of users who are unknown."""
    return {user: Change(UNKNOWN, profile) for user, profile in profiles.items()}


def test_a_user_never_seen_has_an_empty_profile(sink: FeatureSink) -> None:
    assert sink.read(["nobody", "no one"]) == {"nobody": UNKNOWN, "no one": UNKNOWN}


def test_nobody_is_asked_for(sink: FeatureSink) -> None:
    assert sink.read([]) == {}
    assert sink.write({}) == set()
    assert sink.positions([]) == {}
    sink.move({})


def test_what_is_written_is_read_back_exactly(sink: FeatureSink) -> None:
    written = {user: profile_of(user, 9) for user in ("exact", "ünïcode 用户", "with/slash:colon")}
    assert sink.write(fresh(written)) == set()
    assert sink.read(written) == written


def test_a_half_that_did_not_change_stays(sink: FeatureSink) -> None:
    whole = profile_of("half", 3)
    done, declared = Profile(activity=whole.activity), Profile(attributes=whole.attributes)
    sink.write({"half": Change(UNKNOWN, done)})
    assert sink.read(["half"]) == {"half": done}
    # What was read of the other half before does not matter.
    assert sink.write({"half": Change(UNKNOWN, declared)}) == set()
    assert sink.read(["half"]) == {"half": whole}


def test_each_of_several_events_in_one_millisecond_replaces_the_row(sink: FeatureSink) -> None:
    profile = UNKNOWN
    for number in range(3):
        event = rating("burst", "novel", NOON, event_id=f"e{number}")
        after = fold(profile, event, Position(1, number))
        assert sink.write({"burst": Change(profile, after)}) == set()
        profile = sink.read(["burst"])["burst"]
        assert profile == after


def test_a_late_event_replaces_the_row(sink: FeatureSink) -> None:
    before = fold(UNKNOWN, rating("late", "novel", NOON), Position(1, 1))
    sink.write({"late": Change(UNKNOWN, before)})
    after = fold(before, rating("late", "green", NOON - 1_000_000), Position(1, 2))
    assert sink.write({"late": Change(before, after)}) == set()
    assert sink.read(["late"])["late"] == after


def test_of_two_sign_ups_in_one_millisecond_the_same_one_stays(sink: FeatureSink) -> None:
    events = [sign_up("twice", NOON, age=age) for age in (20.0, 30.0)]
    profile = UNKNOWN
    for offset, event in enumerate(events):
        before, profile = profile, fold(profile, event, Position(1, offset))
        assert sink.write({"twice": Change(before, profile)}) == set()
    stored = sink.read(["twice"])["twice"].attributes
    other = fold(fold(UNKNOWN, events[1]), events[0]).attributes
    assert stored is not None
    assert other is not None
    assert (stored.signed_up_ms, stored.values) == (other.signed_up_ms, other.values)


def test_many_users_are_written_and_read_at_once(sink: FeatureSink) -> None:
    written = {f"crowd-{number}": profile_of(f"crowd-{number}", 1) for number in range(1_500)}
    assert sink.write(fresh(written)) == set()
    assert sink.read(written) == written


def test_who_writes_on_a_row_that_has_moved_on_is_refused(sink: FeatureSink) -> None:
    base = fold(UNKNOWN, rating("raced", "novel", NOON), Position(1, 1))
    sink.write({"raced": Change(UNKNOWN, base)})
    mine = fold(base, rating("raced", "green", NOON + 1), Position(1, 2))
    theirs = fold(base, rating("raced", "black", NOON + 2), Position(2, 9))
    assert sink.write({"raced": Change(base, theirs)}) == set()
    bystander = profile_of("bystander", 2)
    changes = {"raced": Change(base, mine), "bystander": Change(UNKNOWN, bystander)}
    assert sink.write(changes) == {"raced"}
    assert sink.read(["raced", "bystander"]) == {"raced": theirs, "bystander": bystander}
    assert sink.write({"raced": Change(UNKNOWN, mine)}) == {"raced"}
    both = fold(theirs, rating("raced", "green", NOON + 1), Position(1, 2))
    assert sink.write({"raced": Change(theirs, both)}) == set()
    assert sink.read(["raced"]) == {"raced": both}


def test_a_sign_up_on_a_row_that_has_moved_on_is_refused(sink: FeatureSink) -> None:
    base = fold(UNKNOWN, sign_up("signs", NOON, age=20.0), Position(1, 1))
    sink.write({"signs": Change(UNKNOWN, base)})
    newer = fold(base, sign_up("signs", NOON + 5, age=30.0), Position(1, 2))
    sink.write({"signs": Change(base, newer)})
    zombie = fold(base, sign_up("signs", NOON + 3, age=40.0), Position(1, 3))
    assert sink.write({"signs": Change(base, zombie)}) == {"signs"}
    assert sink.read(["signs"]) == {"signs": newer}


def test_positions_move_on_and_never_back(sink: FeatureSink) -> None:
    assert sink.positions([11, 12]) == {}
    sink.move({11: Move(-1, 100), 12: Move(-1, 7)})
    assert sink.positions([11, 12, 13]) == {11: 100, 12: 7}
    sink.move({11: Move(100, 150), 12: Move(3, 5)})
    assert sink.positions([11, 12]) == {11: 150, 12: 7}


def test_a_store_that_lost_what_it_confirmed_is_found_out(sink: FeatureSink) -> None:
    sink.move({21: Move(-1, 100)})
    with pytest.raises(RewoundError) as caught:
        sink.move({21: Move(150, 200), 22: Move(40, 50), 23: Move(-1, 9)})
    assert caught.value.positions == {21: 100, 22: -1}
    assert sink.positions([21, 22, 23]) == {21: 100, 23: 9}


def test_a_row_of_another_catalogue_is_refused(store: FeatureStore) -> None:
    sink = GuardedSink(store, CATALOGUE)
    sink.write(fresh({"misfit": profile_of("misfit", 1)}))
    narrower = type(CATALOGUE)(name="other", categories=("tea",), event_types={"rating": 1.0})
    with pytest.raises(LayoutError, match=r"affinity of user 'misfit' is 3 wide, the catalogue's 1"):
        GuardedSink(store, narrower).read(["misfit"])


def test_a_store_without_guards_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    plain = configuration(Workspace(tmp_path))
    plain["online_store"]["type"] = "sqlite"
    path = tmp_path / "plain.yaml"
    path.write_text(yaml.safe_dump(plain), encoding="utf-8")
    shop_workspace(tmp_path)
    apply(Workspace(tmp_path))
    with pytest.raises(LayoutError, match="kindling apply"):
        GuardedSink(FeatureStore(fs_yaml_file=path), CATALOGUE)


def test_a_store_that_is_gone_is_named(tmp_path: Path) -> None:
    store = apply(shop_workspace(tmp_path))
    sink = GuardedSink(store, CATALOGUE)
    Workspace(tmp_path).online.unlink()
    store.teardown()
    with pytest.raises(SinkError, match="online store"):
        sink.write(fresh({"ann": profile_of("ann", 1)}))
