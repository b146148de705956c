"""What every feature sink promises, on the small shop."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from feast import FeatureStore

from feature_repo.store import apply
from feature_repo.workspace import Workspace
from streaming.errors import SinkError
from streaming.fold import Fold
from streaming.position import Position
from streaming.profile import UNKNOWN, Profile
from streaming.sink import FeastSink, FeatureSink, MemorySink
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
    return FeastSink(store, CATALOGUE)


def profile_of(user: str, events: int, start: int = NOON) -> Profile:
    """A profile with every field filled."""
    profile = fold(UNKNOWN, sign_up(user, start, age=31.5))
    for number in range(events):
        item = ITEMS.ids[number % len(ITEMS)]
        profile = fold(profile, rating(user, item, start + number, 3.3), Position(1 << 40, number))
    return profile


def test_a_user_never_seen_has_an_empty_profile(sink: FeatureSink) -> None:
    assert sink.read(["nobody", "no one"]) == {"nobody": UNKNOWN, "no one": UNKNOWN}


def test_nobody_is_asked_for(sink: FeatureSink) -> None:
    assert sink.read([]) == {}
    sink.write({})


def test_what_is_written_is_read_back_exactly(sink: FeatureSink) -> None:
    written = {user: profile_of(user, 7) for user in ("exact", "ünïcode 用户", "with/slash:colon")}
    sink.write(written)
    assert sink.read(written) == written


def test_a_half_that_is_none_stays(sink: FeatureSink) -> None:
    whole = profile_of("half", 3)
    sink.write({"half": Profile(activity=whole.activity)})
    assert sink.read(["half"]) == {"half": Profile(activity=whole.activity)}
    sink.write({"half": Profile(attributes=whole.attributes)})
    assert sink.read(["half"]) == {"half": whole}


def test_each_of_several_events_in_one_millisecond_replaces_the_row(sink: FeatureSink) -> None:
    profile = UNKNOWN
    for number in range(3):
        profile = fold(profile, rating("burst", "novel", NOON, event_id=f"e{number}"), Position(1, number))
        sink.write({"burst": profile})
        assert sink.read(["burst"])["burst"] == profile


def test_a_late_event_replaces_the_row(sink: FeatureSink) -> None:
    profile = fold(UNKNOWN, rating("late", "novel", NOON), Position(1, 1))
    sink.write({"late": profile})
    profile = fold(profile, rating("late", "green", NOON - 1_000_000), Position(1, 2))
    sink.write({"late": profile})
    assert sink.read(["late"])["late"] == profile


def test_of_two_sign_ups_in_one_millisecond_the_same_one_stays(sink: FeatureSink) -> None:
    events = [sign_up("twice", NOON, age=age) for age in (20.0, 30.0)]
    profile = UNKNOWN
    for event in events:
        profile = fold(profile, event)
        sink.write({"twice": profile})
    assert sink.read(["twice"])["twice"] == profile
    assert profile == fold(fold(UNKNOWN, events[1]), events[0])


def test_many_users_are_written_and_read_at_once(sink: FeatureSink) -> None:
    written = {f"crowd-{number}": profile_of(f"crowd-{number}", 1) for number in range(1_500)}
    sink.write(written)
    assert sink.read(written) == written


def test_a_row_of_another_catalogue_is_refused(store: FeatureStore) -> None:
    sink = FeastSink(store, CATALOGUE)
    sink.write({"misfit": profile_of("misfit", 1)})
    narrower = type(CATALOGUE)(name="other", categories=("tea",), event_types={"rating": 1.0})
    with pytest.raises(SinkError, match=r"affinity of user 'misfit' is 3 wide, the catalogue's 1"):
        FeastSink(store, narrower).read(["misfit"])


def test_a_store_that_is_gone_is_named(tmp_path: Path) -> None:
    store = apply(shop_workspace(tmp_path))
    sink = FeastSink(store, CATALOGUE)
    Workspace(tmp_path).online.unlink()
    store.teardown()
    with pytest.raises(SinkError, match="sqlite online store"):
        sink.write({"ann": profile_of("ann", 1)})
