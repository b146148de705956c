"""Profiles within the caller's time: what is read, what is not waited for, how the store is found well."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from feast.protos.feast.types.Value_pb2 import DoubleList, Int64List, StringList, Value

from models.schema import SparseProfile
from service.call import Call
from service.metrics import Metrics
from service.read.profile import ACTIVITY
from service.read.profiles import Profiles
from service.read.rows import MemoryRows, Row, StoreUnavailable
from service.read.store_circuit import StoreCircuit
from tests.shop import CATALOGUE
from tests.waiting import eventually

NOW_MS, DAY_MS = 1_750_000_000_000, 86_400_000
WIDTH = len(ACTIVITY) + len(CATALOGUE.attributes)


def row(items: Sequence[str], age: float | None = None, city: str | None = None) -> list[bytes]:
    """Someone's events, newest first, ten days apart: half a life each."""
    count = len(items)
    values = [
        Value(int64_val=count),
        Value(int64_val=NOW_MS),
        Value(double_list_val=DoubleList(val=[1.5, 0.0, 0.5])),
        Value(string_list_val=StringList(val=items)),
        Value(double_list_val=DoubleList(val=[1.0] * count)),
        Value(int64_list_val=Int64List(val=[NOW_MS - 10 * DAY_MS * age for age in range(count)])),
        Value() if age is None else Value(double_val=age),
        Value() if city is None else Value(string_val=city),
    ]
    return [value.SerializeToString() for value in values]


class Store(MemoryRows):
    """Rows that are there, or not."""

    def __init__(self, rows: dict[str, Row]) -> None:
        super().__init__(rows, WIDTH)
        self.rows, self.down, self.limits = rows, False, list[float]()
        self.meanwhile: Callable[[], object] = list

    def read(self, user_ids: Sequence[str], limit_s: float) -> list[Row]:
        self.limits.append(limit_s)
        self.meanwhile()
        if self.down:
            raise StoreUnavailable("down, as asked")
        return super().read(user_ids, limit_s)


@pytest.fixture
def store() -> Store:
    return Store({"ann": row(["green", "novel", "green"], 40.0, "York"), "bob": row([], None, "Bath")})


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def profiles(store: Store, metrics: Metrics) -> Iterator[Profiles]:
    made = Profiles(store, CATALOGUE, metrics)
    yield made
    made.close()


def test_a_profile_is_what_the_store_says_with_weights_of_the_newest_event(profiles: Profiles) -> None:
    reading = profiles.read(["ann", "nobody", "bob"], Call())
    assert reading.profiles == [
        SparseProfile(
            {"age": 40.0, "city": "York"}, 3, [1.5, 0.0, 0.5], ["green", "novel", "green"], [1.0, 0.5, 0.25]
        ),
        SparseProfile({"age": None, "city": None}, weights=[]),
        SparseProfile({"age": None, "city": "Bath"}, weights=[]),
    ]
    assert not reading.degraded


def test_a_version_changes_with_the_row_and_with_nothing_else(profiles: Profiles, store: Store) -> None:
    before = profiles.read(["ann", "bob"], Call()).versions
    assert profiles.read(["ann", "bob"], Call()).versions == before
    store.rows["ann"] = row(["teapot", "green", "novel", "green"], 40.0, "York")
    after = profiles.read(["ann", "bob"], Call()).versions
    assert after[0] != before[0]
    assert after[1] == before[1]
    moved = profiles.read(["nobody"], Call()).versions
    store.rows["nobody"] = [*[b""] * len(ACTIVITY), b"", row([], None, "Bath")[-1]]
    assert profiles.read(["nobody"], Call()).versions != moved


def test_a_store_that_is_down_leaves_empty_profiles_and_says_so(
    profiles: Profiles, store: Store, metrics: Metrics
) -> None:
    store.down = True
    reading = profiles.read(["ann", "bob"], Call())
    assert (reading.profiles, reading.versions) == ([SparseProfile()] * 2, [None, None])
    assert reading.degraded
    assert metrics.store_reads.value("failed") == 1


def test_the_store_has_the_callers_time_less_what_an_answer_takes(store: Store, metrics: Metrics) -> None:
    profiles = Profiles(store, CATALOGUE, metrics, limit_s=0.25, reserve_s=0.01)
    profiles.read(["ann"], Call.within(0.1))
    assert 0.05 < store.limits[-1] <= 0.09
    profiles.read(["ann"], Call.within(100))
    assert store.limits[-1] == pytest.approx(0.25, abs=0.01)
    asked = len(store.limits)
    reading = profiles.read(["ann"], Call.within(0.005))
    assert (reading.degraded, len(store.limits)) == (True, asked)
    profiles.close()


def test_what_is_no_profile_is_no_crash(profiles: Profiles, store: Store) -> None:
    store.rows["cut short"] = [*row(["green"])[:-1], b"\x12\xff"]
    store.rows["uneven"] = [*row(["green"])[:5], row(["green", "novel"])[5], b"", b""]
    assert profiles.read(["ann"], Call()).profiles[0].event_count == 3
    assert profiles.read(["cut short"], Call()).degraded
    assert profiles.read(["uneven"], Call()).degraded


def test_after_some_failures_nobody_waits_until_a_probe_succeeds(
    profiles: Profiles, store: Store, metrics: Metrics
) -> None:
    store.down = True
    while profiles.is_up:
        assert profiles.read(["ann"], Call()).degraded
    failed, store.meanwhile = metrics.store_reads.value("failed"), threading.Event().clear
    assert profiles.read(["ann"], Call()).degraded
    assert (metrics.store_reads.value("failed"), metrics.store_reads.value("skipped")) == (failed, 1)
    assert metrics.store_up.value() == 0
    store.down = False
    assert eventually(lambda: profiles.is_up)
    assert not profiles.read(["ann"], Call()).degraded
    assert metrics.store_up.value() == 1


def test_callers_in_a_hurry_do_not_give_up_the_store_for_all(profiles: Profiles, store: Store) -> None:
    def slow() -> None:
        threading.Event().wait(store.limits[-1])

    store.down, store.meanwhile = True, slow
    for _ in range(10):
        assert profiles.read(["ann"], Call.within(0.012)).degraded
    assert profiles.is_up


def test_a_circuit_opens_after_failures_in_a_row_only() -> None:
    circuit = StoreCircuit(probe=list, failures=3, every_s=60)
    down = StoreUnavailable("down")
    for _ in range(4):
        circuit.fail(down)
        circuit.fail(down)
        circuit.succeed()
    assert not circuit.is_open
    for _ in range(3):
        circuit.fail(down)
    assert circuit.is_open
    circuit.close()


def test_a_circuit_stays_open_while_probes_fail() -> None:
    probes, well = list[int](), threading.Event()

    def probe() -> Any:
        probes.append(1)
        if not well.is_set():
            raise StoreUnavailable("still down")

    circuit = StoreCircuit(probe, failures=1, every_s=0.001)
    circuit.fail(StoreUnavailable("down"))
    assert eventually(lambda: len(probes) > 3)
    assert circuit.is_open
    well.set()
    assert eventually(lambda: not circuit.is_open)
    circuit.close()
