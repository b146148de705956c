"""Erasure: a user goes everywhere, stays gone in any replay, and may come again."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from feature_repo.event_log import labelled_events, used_items
from feature_repo.offline import part_schema, write_part
from feature_repo.store import apply
from feature_repo.tombstones import Tombstones
from kindling.cli.app import app, register
from streaming import erasure
from streaming.broker.choice import write_address
from streaming.broker.embedded import EmbeddedBroker
from streaming.broker.port import Broker
from streaming.consumer import Consumer
from streaming.counters import Counters
from streaming.erasure import Erased, Erasure, observed
from streaming.event import UserEvent
from streaming.offsets import end_offsets
from streaming.producer import Producer
from streaming.profile import UNKNOWN, Profile
from streaming.sink import Change, GuardedSink
from streaming.snapshots import Snapshots
from tests.servers import running_redis
from tests.shop import CATALOGUE, ITEMS, shop_workspace
from tests.streams import NOON, assert_same, oracle, rating, sign_up

pytestmark = pytest.mark.timeout(120)

OTHERS = [
    rating(user, item, NOON + place) for place, item in enumerate(ITEMS.ids) for user in ("bob", "cy")
]
BEFORE = [
    sign_up("ann", NOON, age=31.0, city="York"),
    *(rating("ann", item, NOON + place) for place, item in enumerate(ITEMS.ids)),
]
AFTER = [sign_up("ann", NOON + 50, age=31.0), rating("ann", "novel", NOON + 60)]


class Shop:
    """A workspace, its store, and a broker that its events are on."""

    def __init__(self, root: Path, broker: Broker, redis: str | None = None) -> None:
        self.broker = broker
        self.topic = f"events-{root.name}"
        self.workspace = shop_workspace(root)
        self.store = apply(self.workspace, redis)
        self.sink = GuardedSink(self.store, CATALOGUE)

    def send(self, *events: UserEvent) -> None:
        with Producer(self.broker, self.topic) as producer:
            producer.send(events)

    def consumer(self, group: str = "g") -> Consumer:
        return Consumer(
            self.broker,
            self.store,
            CATALOGUE,
            ITEMS,
            self.workspace,
            self.topic,
            group,
            batch_seconds=0.05,
            session_seconds=3.5,
        )

    def consume(self, group: str = "g") -> Counters:
        with self.consumer(group) as consumer:
            return consumer.run(drained)

    def snapshot(self) -> None:
        Snapshots(self.workspace, self.store, CATALOGUE, ITEMS).update()

    def erase(self, user: str) -> Erased:
        made = Erasure(self.workspace, self.store, CATALOGUE, self.sink)
        return made.erase(user, lambda: end_offsets(self.broker, [self.topic]))

    def profile(self, user: str) -> Profile:
        return observed(self.sink.read([user])[user])

    def online(self, user: str, *features: str) -> dict[str, object]:
        """What any Feast client reads."""
        columns = self.store.get_online_features(list(features), [{"user_id": user}]).to_dict()
        return {name: values[0] for name, values in columns.items() if name != "user_id"}

    def kept_offline(self) -> dict[str, set[str]]:
        """Whose rows the files hold, by view."""
        return {
            view: set(
                pq.read_table(self.workspace.offline / view, columns=["user_id"])["user_id"].to_pylist()
            )
            for view in ("events", "user_activity", "user_attributes", "user_augmented")
        }


def drained(counters: Counters) -> bool:
    """Whether everything there is folded."""
    return counters.lag == 0


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with EmbeddedBroker() as started:
        yield started


@pytest.fixture
def shop(tmp_path: Path, broker: Broker) -> Shop:
    """Ann and two others, folded, in snapshots, and Ann filled in."""
    shop = Shop(tmp_path, broker)
    shop.send(*BEFORE, *OTHERS)
    shop.consume()
    shop.snapshot()
    fill(shop)
    return shop


def fill(shop: Shop) -> None:
    """Write a filled profile of Ann, online and offline, as the service does."""
    view = shop.store.get_feature_view("user_augmented")
    now = datetime.now(UTC)
    row = {"user_id": "ann", "rung": "generator", "event_timestamp": now, "created_timestamp": now}
    table = pa.Table.from_pylist([row], schema=part_schema(view))
    write_part(shop.workspace.offline / "user_augmented", "run-0", table)
    shop.store.write_to_online_store("user_augmented", table.to_pandas())
    assert shop.online("ann", "user_augmented:rung") == {"rung": "generator"}


def test_nothing_of_the_user_is_left_and_all_of_the_others(shop: Shop) -> None:
    others = shop.sink.read(["bob", "cy"])
    erased = shop.erase("ann")
    assert erased.known
    assert erased.rows == {
        "events": len(BEFORE),
        "user_activity": len(BEFORE) - 1,
        "user_attributes": 1,
        "user_augmented": 1,
    }
    assert shop.profile("ann") == UNKNOWN
    features = ("user_activity:event_count", "user_activity:recent_items", "user_attributes:city")
    assert shop.online("ann", *features) == {"event_count": 0, "recent_items": [], "city": None}
    assert shop.online("ann", "user_augmented:rung") == {"rung": None}
    kept = shop.kept_offline()
    assert not any("ann" in users for users in kept.values())
    assert kept["events"] == kept["user_activity"] == {"bob", "cy"}
    assert shop.sink.read(["bob", "cy"]) == others
    assert set(labelled_events(shop.workspace)["user_id"]) == {"bob", "cy"}
    assert used_items(shop.workspace, "ann") == set()


def test_erasing_again_changes_nothing(shop: Shop) -> None:
    shop.erase("ann")
    again = shop.erase("ann")
    assert not again.known
    assert set(again.rows.values()) == {0}
    assert not shop.erase("a stranger").known


def test_a_replay_from_the_start_brings_nothing_back(shop: Shop, broker: Broker, tmp_path: Path) -> None:
    shop.erase("ann")
    # Another store, as one that was lost: nothing in it says what was folded, nor does the group.
    shop.workspace.online.unlink()
    shop.store.teardown()
    shop.store = apply(shop.workspace)
    shop.sink = GuardedSink(shop.store, CATALOGUE)
    counters = shop.consume("an-empty-group")
    assert counters.events == len(OTHERS)
    assert shop.sink.read(["ann"])["ann"] == UNKNOWN
    assert shop.profile("bob") != UNKNOWN
    Snapshots(shop.workspace, shop.store, CATALOGUE, ITEMS).update(anew=True)
    assert not any("ann" in users for users in shop.kept_offline().values())


def test_who_comes_back_begins_anew(shop: Shop) -> None:
    shop.erase("ann")
    shop.send(*AFTER)
    shop.consume()
    assert_same(shop.profile("ann"), oracle(AFTER)["ann"])
    shop.snapshot()
    rows = pq.read_table(shop.workspace.offline / "user_activity").to_pylist()
    assert [row["event_count"] for row in rows if row["user_id"] == "ann"] == [1]
    assert used_items(shop.workspace, "ann") == {"novel"}
    # And may go again.
    assert shop.erase("ann").rows["events"] == len(AFTER)
    assert shop.profile("ann") == UNKNOWN


def test_events_not_folded_yet_are_erased_too(shop: Shop) -> None:
    shop.send(*AFTER)
    shop.erase("ann")
    assert shop.consume().events == 0
    assert shop.profile("ann") == UNKNOWN
    assert "ann" not in shop.kept_offline()["events"]


def test_a_consumer_that_has_the_user_at_hand_overwrites_nothing(tmp_path: Path, broker: Broker) -> None:
    shop = Shop(tmp_path, broker)
    shop.send(*BEFORE)
    with shop.consumer() as consumer:
        consumer.run(drained)  # Ann's profile is in its cache from here on
        shop.erase("ann")
        shop.send(*AFTER)
        assert consumer.run(lambda counters: counters.events == len(BEFORE) + len(AFTER)).rejected == 1
    assert_same(shop.profile("ann"), oracle(AFTER)["ann"])


def test_a_writer_of_the_very_last_event_is_refused(shop: Shop) -> None:
    """Its position is the tombstone's; what it folded on is not."""
    before = shop.sink.read(["ann"])["ann"]
    shop.erase("ann")
    assert before.activity is not None
    after = Profile(msgspec.structs.replace(before.activity, event_count=99), before.attributes)
    assert shop.sink.write({"ann": Change(before, after)}) == {"ann"}
    assert shop.profile("ann") == UNKNOWN


def test_cut_short_it_is_completed_by_the_next(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(erasure, "_remove", killed)
        shop.erase("ann")
    assert "ann" in shop.kept_offline()["events"]
    # Nobody reads or folds them by then.
    assert used_items(shop.workspace, "ann") == set()
    assert Tombstones(shop.workspace).of("ann")
    assert shop.erase("ann").rows["events"] == len(BEFORE)
    assert "ann" not in shop.kept_offline()["events"]


@pytest.mark.redis
def test_redis_forgets_as_well(tmp_path: Path, broker: Broker) -> None:
    with running_redis() as address:
        shop = Shop(tmp_path, broker, address)
        shop.send(*BEFORE, *OTHERS)
        shop.consume()
        fill(shop)
        shop.erase("ann")
        assert shop.profile("ann") == UNKNOWN
        assert shop.online("ann", "user_augmented:rung") == {"rung": None}
        shop.send(*AFTER)
        shop.consume()
        assert_same(shop.profile("ann"), oracle(AFTER)["ann"])


def test_a_tombstone_that_the_store_lost_is_written_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis that restarts without its last second."""
    lost: list[set[str]] = []
    before = shop.sink.read(["ann"])["ann"]

    def lose() -> float:
        if not lost:
            now = shop.sink.read(["ann"])["ann"]
            lost.append(shop.sink.write({"ann": Change(now, before)}))
        return 0.0

    monkeypatch.setattr(shop.sink, "durable_after_s", lose)
    shop.erase("ann")
    assert lost == [set()]
    assert shop.profile("ann") == UNKNOWN


def test_the_command_says_what_it_did_and_what_it_cannot(shop: Shop, broker: Broker) -> None:
    register()
    write_address(broker, shop.workspace.root / "broker.json")
    command = ["erase-user", "ann", "--var", str(shop.workspace.root), "--topic", shop.topic]
    refused = CliRunner().invoke(app, command, input="n\n")
    assert refused.exit_code == 1
    assert shop.profile("ann") != UNKNOWN
    done = CliRunner().invoke(app, [*command, "--yes"])
    assert done.exit_code == 0, done.output
    assert shop.profile("ann") == UNKNOWN
    for said in ("user 'ann' is erased", f"{len(BEFORE)} of events", "retention.ms", "dead-letters"):
        assert said in done.output
