"""(profile, event) → profile."""

import random
from math import exp2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.event import UserEvent
from streaming.fold import Fold
from streaming.position import Position
from streaming.profile import UNKNOWN, Activity, Profile
from tests.shop import CATALOGUE, ITEMS
from tests.streams import DAY, NOON, assert_same, oracle, rating, sign_up

fold = Fold(CATALOGUE, ITEMS)


def folded(*events: UserEvent) -> Profile:
    """The one user's profile after `events`."""
    return oracle(events)["ann"]


def activity(*events: UserEvent) -> Activity:
    """The activity half of it."""
    found = folded(*events).activity
    assert found is not None
    return found


def test_a_first_event_is_counted_whole() -> None:
    found = activity(rating("ann", "teapot", NOON, 5.0))
    assert found.event_count == found.value_count == 1
    assert found.type_counts == (1, 0)
    assert found.value_sum == 5.0
    assert found.first_event_ms == found.last_event_ms == NOON
    # One event of weight 1, shared by the teapot's two categories.
    assert found.affinity == (0.5, 0.5, 0.0)
    assert found.recent_items == ("teapot",)
    assert found.recent_weights == (1.0,)


def test_an_event_counts_half_after_a_half_life() -> None:
    found = activity(rating("ann", "green", NOON), rating("ann", "novel", NOON + 10 * DAY))
    assert found.affinity == (0.5, 0.0, 1.0)


def test_a_late_event_arrives_decayed_by_its_age() -> None:
    found = activity(rating("ann", "novel", NOON + 25 * DAY), rating("ann", "green", NOON))
    assert found.affinity == pytest.approx((exp2(-2.5), 0.0, 1.0), abs=1e-15)
    assert found.last_event_ms == NOON + 25 * DAY
    assert found.first_event_ms == NOON


def test_a_low_value_is_weaker_evidence_and_no_value_is_none() -> None:
    assert activity(rating("ann", "green", NOON, 1.0)).affinity[0] == 0.5
    bare = activity(rating("ann", "green", NOON, None))
    assert (bare.affinity[0], bare.value_count, bare.value_sum) == (1.0, 0, 0.0)
    zero = activity(rating("ann", "green", NOON, 0.0))
    assert (zero.value_count, zero.value_sum) == (1, 0.0)


def test_only_the_newest_events_are_kept_and_ties_go_by_id() -> None:
    same_time = [rating("ann", "green", NOON, event_id=f"e{number}") for number in range(8)]
    random.Random(3).shuffle(same_time)
    found = activity(*same_time)
    assert found.recent_event_ids == ("e7", "e6", "e5", "e4", "e3")
    assert found.event_count == 8


def test_the_last_declaration_wins_wherever_it_arrives() -> None:
    first, second = sign_up("ann", NOON, city="Bath"), sign_up("ann", NOON + 1, city="York", age=40.0)
    for order in ([first, second], [second, first]):
        attributes = folded(*order).attributes
        assert attributes is not None
        assert (attributes.signed_up_ms, attributes.values) == (NOON + 1, (40.0, "York"))


def test_unknown_and_odd_attributes_are_taken_as_far_as_they_go() -> None:
    attributes = folded(sign_up("ann", NOON, shoe="12", city=7.0)).attributes
    assert attributes is not None
    assert attributes.values == (None, "7")


def test_a_sign_up_leaves_activity_alone_and_an_event_leaves_attributes_alone() -> None:
    signed = fold(UNKNOWN, sign_up("ann", NOON, age=20.0), Position(1, 1))
    assert signed.activity is None
    active = fold(signed, rating("ann", "novel", NOON), Position(1, 2))
    assert active.attributes is signed.attributes


_EVENTS = st.lists(
    st.one_of(
        st.builds(
            rating,
            st.just("ann"),
            st.sampled_from(ITEMS.ids),
            st.integers(NOON, NOON + 60 * DAY),
            st.none() | st.floats(0.0, 6.0),
            st.uuids().map(str),
        ),
        st.builds(
            lambda at, age, city: sign_up("ann", at, age=age, city=city),
            st.integers(NOON, NOON + 3),
            st.none() | st.floats(0, 99),
            st.sampled_from(["Bath", "York", "Hull"]),
        ),
    ),
    min_size=1,
    max_size=12,
)


@given(_EVENTS, st.randoms(use_true_random=False))
def test_events_in_any_order_fold_to_the_same_profile(events: list[UserEvent], draw: random.Random) -> None:
    shuffled = list(events)
    draw.shuffle(shuffled)
    assert_same(folded(*shuffled), folded(*events))


@given(_EVENTS)
def test_affinity_is_the_sum_of_decayed_weights(events: list[UserEvent]) -> None:
    acts = [event for event in events if event.item_id is not None]
    if not acts:
        return
    found = activity(*events)
    last = max(event.time_ms for event in acts)
    expected = [0.0] * len(CATALOGUE.categories)
    for event in acts:
        categories = ITEMS.categories[ITEMS.index[event.item_id or ""]]
        weight = CATALOGUE.event_weight(event.type, event.value)
        for category in categories:
            expected[category] += weight / len(categories) * 0.5 ** ((last - event.time_ms) / (10 * DAY))
    assert found.affinity == pytest.approx(expected, abs=1e-9)
