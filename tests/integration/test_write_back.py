"""The write-back: the newest answer wins, waiting is bounded, failures pass, the erased stay erased."""

import errno
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from feast import FeatureStore

from feature_repo.offline import write_part
from feature_repo.store import apply
from feature_repo.tombstones import Tombstone, Tombstones
from feature_repo.workspace import Workspace
from models.bundle import Bundle
from service.metrics import Metrics
from service.write_back.log import FillLog
from service.write_back.row import VIEW, AugmentedRow
from service.write_back.sink import FillSink
from service.write_back.writer import WriteBack
from tests.fills import answer_of, offer
from tests.guarded import plain_reader
from tests.marked import marked_bundle
from tests.servers import running_redis
from tests.shop import shop_workspace
from tests.waiting import eventually

FEATURES = ["observed_count", "user_embedding", "virtual_items", "rung", "model_version", "generated_at_ms"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return marked_bundle(tmp_path_factory.mktemp("bundles"), "v1", 7.0)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def writer(workspace: Workspace, store: FeatureStore, metrics: Metrics) -> Iterator[WriteBack]:
    with closing(WriteBack(store, workspace, metrics)) as made:
        yield made


def refuse() -> None:
    """As a store that is down."""
    raise ConnectionError("refused")


class Gate:
    """Lets the store's writes through when it is told to, and notes what they wrote."""

    def __init__(self, write: Callable[..., None]) -> None:
        self._write = write
        self.open, self.entered = threading.Event(), threading.Event()
        self.batches: list[int] = []
        self.before: Callable[[], object] = list
        self.after: Callable[[], object] = list

    def __call__(self, config: Any, view: Any, features: Any, rows: Sequence[Any]) -> None:
        self.entered.set()
        assert self.open.wait(10)
        self.before()
        self._write(config, view, features, rows)
        self.batches.append(len(rows))
        self.after()


@pytest.fixture
def gate(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    online = store.provider.online_store
    gate = Gate(online.write_newer)
    monkeypatch.setattr(online, "write_newer", gate)
    yield gate
    gate.open.set()


def stored_count(store: FeatureStore, user: str) -> int | None:
    found = store.get_online_features(["user_augmented:observed_count"], [{"user_id": user}]).to_dict()
    count: int | None = found["observed_count"][0]
    return count


def counted(metrics: Metrics, *outcomes: str) -> list[float]:
    return [metrics.write_back_rows.value(outcome) for outcome in outcomes]


def test_while_one_write_runs_the_newest_answer_of_each_user_gathers(
    store: FeatureStore, writer: WriteBack, bundle: Bundle, gate: Gate, metrics: Metrics
) -> None:
    offer(writer, bundle, ann=1)
    assert gate.entered.wait(10)
    offer(writer, bundle, bob=1, ann=2)
    offer(writer, bundle, ann=3)
    assert metrics.write_back_waiting.value() == 3
    assert metrics.write_back_lag.value() > 0
    gate.open.set()
    assert writer.flush()
    assert gate.batches == [1, 2]
    assert (stored_count(store, "ann"), stored_count(store, "bob")) == (3, 1)
    assert counted(metrics, "written", "dropped") == [3, 0]
    assert (metrics.write_back_waiting.value(), metrics.write_back_lag.value()) == (0, 0)


def test_no_more_users_wait_than_allowed_and_the_loss_is_counted(
    workspace: Workspace, store: FeatureStore, bundle: Bundle, gate: Gate, metrics: Metrics
) -> None:
    with closing(WriteBack(store, workspace, metrics, most_users=2)) as writer:
        offer(writer, bundle, first=1)
        assert gate.entered.wait(10)
        offer(writer, bundle, a=1, b=1, c=1)
        gate.open.set()
        assert writer.flush()
    assert (gate.batches, counted(metrics, "dropped")) == ([1, 2], [1])
    assert [stored_count(store, user) for user in ("first", "a", "b", "c")] == [1, None, 1, 1]


def test_what_is_stored_already_is_not_written_again(
    writer: WriteBack, bundle: Bundle, gate: Gate, metrics: Metrics
) -> None:
    gate.open.set()
    for _ in range(3):
        offer(writer, bundle, same=1)
        assert writer.flush()
    assert (len(gate.batches), counted(metrics, "written", "skipped")) == (1, [1, 2])
    offer(writer, bundle, same=2)  # they did something
    writer.offer(["same"], answer_of(bundle, [2], ["global_prior"]), bundle, [2])  # another rung
    assert writer.flush()
    writer.offer(["same"], answer_of(bundle, [2], ["observed"]), bundle, [2])  # nothing was filled in
    writer.offer(["same"], answer_of(bundle, [2]), bundle, [None])  # it is not known from what
    assert writer.flush()
    assert (len(gate.batches), counted(metrics, "skipped")) == (3, [2])


def test_a_store_that_fails_is_tried_again_with_what_is_newest_by_then(
    store: FeatureStore, writer: WriteBack, bundle: Bundle, gate: Gate, metrics: Metrics
) -> None:
    gate.before = refuse
    gate.open.set()
    offer(writer, bundle, eve=1, dan=1)
    assert eventually(lambda: metrics.write_back_failures.value("online") >= 2)
    offer(writer, bundle, eve=2)
    gate.before = list
    assert writer.flush()
    assert (stored_count(store, "eve"), stored_count(store, "dan")) == (2, 1)
    assert counted(metrics, "written", "dropped") == [2, 0]


def test_what_waits_in_vain_for_too_long_is_given_up(
    workspace: Workspace, store: FeatureStore, bundle: Bundle, gate: Gate, metrics: Metrics
) -> None:
    gate.before = refuse
    gate.open.set()
    with closing(WriteBack(store, workspace, metrics, patience_s=0.15)) as writer:
        offer(writer, bundle, old=1)
        assert writer.flush()
    assert counted(metrics, "dropped", "written") == [1, 0]


def test_a_store_that_stays_down_does_not_keep_the_server_from_stopping(
    workspace: Workspace, store: FeatureStore, bundle: Bundle, gate: Gate, metrics: Metrics
) -> None:
    gate.before = refuse
    gate.open.set()
    writer = WriteBack(store, workspace, metrics)
    offer(writer, bundle, lost=1)
    started = time.monotonic()
    writer.close(within_s=0.3)
    assert time.monotonic() - started < 5
    assert counted(metrics, "dropped", "written") == [1, 0]


def test_every_row_written_online_is_in_exactly_one_part_file(
    workspace: Workspace, store: FeatureStore, bundle: Bundle, metrics: Metrics
) -> None:
    before = set((workspace.offline / VIEW).glob("*.parquet"))
    with closing(WriteBack(store, workspace, metrics, part_rows=2)) as writer:
        for number in range(5):
            offer(writer, bundle, **{f"user-{number}": number})
            assert writer.flush()
    parts = set((workspace.offline / VIEW).glob("*.parquet")) - before
    users = [user for part in parts for user in pq.read_table(part)["user_id"].to_pylist()]
    assert sorted(users) == [f"user-{number}" for number in range(5)]


def row(bundle: Bundle, user: str, count: int = 1) -> AugmentedRow:
    return AugmentedRow.of(user, answer_of(bundle, [count]), 0)


def test_a_full_disk_loses_the_oldest_and_then_none(
    workspace: Workspace,
    store: FeatureStore,
    bundle: Bundle,
    metrics: Metrics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = True

    def write(folder: Path, *args: Any) -> Path:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_part(folder, *args)

    monkeypatch.setattr("service.write_back.log.write_part", write)
    before = set((workspace.offline / VIEW).glob("*.parquet"))
    view = store.get_feature_view(VIEW)
    log = FillLog(workspace, view, metrics, part_rows=2, most_rows=3, retry_s=0.005)
    log.put([row(bundle, "a"), row(bundle, "b")])
    assert eventually(lambda: metrics.write_back_failures.value("offline") >= 2)
    log.put([row(bundle, "c"), row(bundle, "d")])
    assert eventually(lambda: counted(metrics, "not_logged") == [1])
    full = False
    log.close()
    parts = set((workspace.offline / VIEW).glob("*.parquet")) - before
    users = [user for part in parts for user in pq.read_table(part)["user_id"].to_pylist()]
    assert sorted(users) == ["b", "c", "d"]


def erase(workspace: Workspace, user: str, at: datetime) -> None:
    Tombstones(workspace).add(Tombstone(user, int(at.timestamp() * 1e3), {1: 1}))


def test_who_was_erased_since_gets_no_fill_from_before(
    workspace: Workspace, store: FeatureStore, writer: WriteBack, bundle: Bundle, metrics: Metrics
) -> None:
    now = datetime.now(UTC)
    erase(workspace, "gone", now)
    for user, at in (("gone", now), ("here", now)):
        writer.offer([user], answer_of(bundle, [1], at=at), bundle, [1])
    assert writer.flush()
    assert (stored_count(store, "gone"), stored_count(store, "here")) == (None, 1)
    assert counted(metrics, "erased", "written") == [1, 1]
    writer.offer(["gone"], answer_of(bundle, [1], at=now + timedelta(minutes=5)), bundle, [1])
    assert writer.flush()
    assert stored_count(store, "gone") == 1


def test_a_fill_that_an_erasure_overtakes_is_removed_again(
    workspace: Workspace,
    store: FeatureStore,
    writer: WriteBack,
    bundle: Bundle,
    gate: Gate,
    metrics: Metrics,
) -> None:
    now = datetime.now(UTC)
    gate.before = lambda: erase(workspace, "racing", now)
    gate.open.set()
    writer.offer(["racing"], answer_of(bundle, [1], at=now), bundle, [1])
    assert writer.flush()
    assert (gate.batches, stored_count(store, "racing")) == ([1], None)
    assert counted(metrics, "erased") == [1]
    writer.close()
    parts = (workspace.offline / VIEW).glob("*.parquet")
    assert not any("racing" in pq.read_table(part)["user_id"].to_pylist() for part in parts)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def test_both_ways_of_writing_store_the_same(kind: str, tmp_path: Path, bundle: Bundle) -> None:
    def written(store: FeatureStore) -> dict[str, Any]:
        sink = FillSink(store)
        for rows in ([row(bundle, "ann", 2), row(bundle, "bob", 3)], [row(bundle, "ann", 4)]):
            sink.write([sink.prepare(one) for one in rows])
        references = [f"user_augmented:{feature}" for feature in FEATURES]
        users = [{"user_id": user} for user in ("ann", "bob", "nobody")]
        columns: dict[str, Any] = store.get_online_features(references, users).to_dict()
        return columns

    def both(address: str | None) -> None:
        store = apply(shop_workspace(tmp_path), address)
        by_hand = written(store)
        for user in ("ann", "bob"):
            FillSink(store).remove([user])
        by_feast = written(plain_reader(store, tmp_path))
        assert by_hand == by_feast
        assert by_hand["observed_count"] == [4, 3, None]

    if kind == "sqlite":
        both(None)
    else:
        with running_redis() as address:
            both(address)
