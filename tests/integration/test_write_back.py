"""The write-back: newest answer of a user wins, waiting is bounded, and a failing store loses no server."""

import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest
from feast import FeatureStore

from feature_repo.workspace import Workspace
from service.write_back import AugmentedRow, WriteBack

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def row(user: str, count: int = 0) -> AugmentedRow:
    return AugmentedRow(
        user_id=user,
        generated_at=NOON + timedelta(seconds=count),
        filled_affinity=[0.5, 0.25, 0.25],
        user_embedding=[1.0, 0.0, 0.0, 0.0],
        virtual_items=["green"],
        virtual_weights=[1.0],
        block_origins=["generated"] * 3,
        block_confidences=[0.5] * 3,
        rung="generator",
        observed_count=count,
        model_version="v1",
    )


class Gate:
    """Lets the store's writes through when it is told to, and notes what they wrote."""

    def __init__(self, store: FeatureStore) -> None:
        self._write = store.provider.online_write_batch
        self.open, self.entered = threading.Event(), threading.Event()
        self.batches: list[list[str]] = []

    def __call__(self, config: Any, view: Any, batch: list[Any], progress: Any) -> None:
        self.entered.set()
        assert self.open.wait(10)
        self.batches.append([key.entity_values[0].string_val for key, *_ in batch])
        self._write(config, view, batch, progress)


@pytest.fixture
def gate(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(store)
    monkeypatch.setattr(store.provider, "online_write_batch", gate)
    yield gate
    gate.open.set()


def stored_count(store: FeatureStore, user: str) -> int | None:
    found = store.get_online_features(["user_augmented:observed_count"], [{"user_id": user}]).to_dict()
    count: int | None = found["observed_count"][0]
    return count


def test_while_one_write_runs_the_newest_answer_of_each_user_gathers(
    workspace: Workspace, store: FeatureStore, gate: Gate
) -> None:
    writer = WriteBack(store, workspace, threading.Lock())
    writer.put([row("ann", 1)])
    assert gate.entered.wait(10)
    writer.put([row("bob", 1), row("ann", 2)])
    writer.put([row("ann", 3)])
    gate.open.set()
    assert writer.flush()
    assert gate.batches == [["ann"], ["bob", "ann"]]
    assert (stored_count(store, "ann"), stored_count(store, "bob")) == (3, 1)
    writer.close()
    assert writer.written == 3


def test_no_more_users_wait_than_allowed_and_the_loss_is_counted(
    workspace: Workspace, store: FeatureStore, gate: Gate
) -> None:
    writer = WriteBack(store, workspace, threading.Lock(), most_users=2)
    writer.put([row("first")])
    assert gate.entered.wait(10)
    writer.put([row("a"), row("b"), row("c")])
    gate.open.set()
    assert writer.flush()
    writer.close()
    assert (gate.batches, writer.dropped) == ([["first"], ["b", "c"]], 1)


def test_a_store_that_fails_is_said_and_the_next_write_goes_through(
    workspace: Workspace,
    store: FeatureStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise ConnectionError("refused")

    writer = WriteBack(store, workspace, threading.Lock())
    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(store.provider, "online_write_batch", fail)
        writer.put([row("eve", 1)])
        assert writer.flush()
    assert "could not write 1 augmented profiles" in caplog.text
    writer.put([row("eve", 2)])
    writer.close()
    assert (writer.failed, writer.written, stored_count(store, "eve")) == (1, 1, 2)


def test_every_row_written_online_is_in_exactly_one_part_file(
    workspace: Workspace, store: FeatureStore
) -> None:
    folder = workspace.offline / WriteBack.VIEW
    before = set(folder.glob("*.parquet"))
    writer = WriteBack(store, workspace, threading.Lock(), part_rows=2)
    for number in range(5):
        writer.put([row(f"user-{number}", number)])
        assert writer.flush()
    writer.close()
    parts = sorted(set(folder.glob("*.parquet")) - before)
    users = [user for part in parts for user in pq.read_table(part)["user_id"].to_pylist()]
    assert sorted(users) == [f"user-{number}" for number in range(5)]
    assert len(parts) == 3
