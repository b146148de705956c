"""Fills that wait: one a user, the newest, and no more than there is room for."""

import numpy as np
import pytest

from models.bundle import Bundle
from service.write_back.row import FEATURES, AugmentedRow, augmented_rows
from service.write_back.waiting import Mark, Offer, Waiting
from tests.fills import NOON, answer_of
from tests.marked import marked_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return marked_bundle(tmp_path_factory.mktemp("bundles"), "v1", 7.0)


def offered(bundle: Bundle, user: str, count: int = 1) -> Offer:
    return Offer(user, answer_of(bundle, [count]), 0, Mark(count, "v1", "generator"), float(count))


def taken(waiting: Waiting, most: int = 100) -> list[tuple[str, int | None]]:
    return [(offer.user_id, offer.mark.version) for offer in waiting.take(most)]


def test_the_newest_of_a_user_waits_in_its_place_at_the_end(bundle: Bundle) -> None:
    waiting = Waiting(10, 1 << 20)
    for user, count in (("ann", 1), ("bob", 2), ("ann", 3)):
        assert waiting.put(offered(bundle, user, count)) == 0
    oldest, mark = waiting.oldest(), waiting.mark("ann")
    assert oldest is not None
    assert (oldest.user_id, mark, waiting.mark("eve")) == ("bob", Mark(3, "v1", "generator"), None)
    assert taken(waiting) == [("bob", 2), ("ann", 3)]
    assert (len(waiting), waiting.oldest()) == (0, None)


def test_the_oldest_makes_room_for_users_and_for_bytes(bundle: Bundle) -> None:
    waiting = Waiting(2, 1 << 20)
    assert sum(waiting.put(offered(bundle, user)) for user in ("ann", "bob", "eve")) == 1
    assert taken(waiting) == [("bob", 1), ("eve", 1)]
    room = 3 * offered(bundle, "ann").bytes()
    waiting = Waiting(100, room)
    assert sum(waiting.put(offered(bundle, f"u{number}")) for number in range(10)) == 7
    assert len(taken(waiting)) == 3
    assert waiting.put(offered(bundle, "again")) == 0


def test_what_is_put_back_comes_first_and_yields_to_newer(bundle: Bundle) -> None:
    waiting = Waiting(3, 1 << 20)
    for user in ("ann", "bob"):
        waiting.put(offered(bundle, user))
    writing = waiting.take(2)
    for user in ("eve", "bob"):
        waiting.put(offered(bundle, user, 2))
    assert waiting.put_back(writing) == 0
    assert taken(waiting) == [("ann", 1), ("eve", 2), ("bob", 2)]
    for user in ("eve", "dan", "fay"):
        waiting.put(offered(bundle, user, 2))
    assert waiting.put_back(writing) == 2
    assert taken(waiting) == [("eve", 2), ("dan", 2), ("fay", 2)]


def test_a_row_serialized_by_hand_is_as_protobuf_serializes_it(bundle: Bundle) -> None:
    answer = answer_of(bundle, [3, 12, 200], ["generator", "observed", "global_prior"])
    rows = augmented_rows(["ann", "bob", "eve"], answer)
    assert [(row.user_id, row.observed_count, row.rung) for row in rows] == [
        ("ann", 3, "generator"),
        ("eve", 200, "global_prior"),
    ]
    none = np.zeros(0, np.float32)
    bare = AugmentedRow("x", NOON, none, none, [], none, none, "generator", 0, "")
    for row in [*rows, bare]:
        values = row.values()
        assert tuple(values) == FEATURES
        assert row.serialized() == [value.SerializeToString() for value in values.values()]
    assert (rows[0].virtual_items, rows[0].virtual_weights.tolist()) == (["green"], [1.0])
    assert rows[0].block_origins == ["generated"] * 3
