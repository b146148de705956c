"""(profile, event) → profile."""

import random
from math import exp2

import mmh3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from streaming.event import UserEvent
from streaming.fold import Fold, Outcome
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


def test_only_the_newest_events_are_kept_and_ties_go_by_item() -> None:
    same_time = [rating("ann", item, NOON, event_id=item) for item in ITEMS.ids]
    random.Random(3).shuffle(same_time)
    found = activity(*same_time)
    assert found.recent_items == tuple(sorted(ITEMS.ids, reverse=True)[:5])
    assert found.event_count == 6


def test_who_is_no_longer_among_the_newest_is_counted_in_a_bucket() -> None:
    events = [rating("ann", "green", NOON + number * 1_000) for number in range(7)]
    found = activity(*events)
    assert found.recent_times_ms == tuple(NOON + number * 1_000 for number in (6, 5, 4, 3, 2))
    assert sum(found.older_counts) == 2
    assert found.older_starts_ms == tuple(sorted({(NOON + at) // 60_000 * 60_000 for at in (0, 1_000)}))


def test_an_event_is_judged_by_what_its_user_has_seen() -> None:
    at = [Position(7, offset) for offset in range(5)]
    first = rating("ann", "green", NOON, event_id="a")
    profile = fold(UNKNOWN, first, at[1])
    assert fold.judge(UNKNOWN, first, at[1]) is Outcome.FOLD
    assert fold.judge(profile, first, at[1]) is Outcome.REPLAYED
    assert fold.judge(profile, first, at[2]) is Outcome.DUPLICATE
    assert fold.judge(profile, rating("ann", "green", NOON, event_id="b"), at[2]) is Outcome.FOLD
    bound = NOON - 90 * DAY
    assert fold.judge(profile, rating("ann", "green", bound, event_id="c"), at[2]) is Outcome.FOLD
    assert fold.judge(profile, rating("ann", "green", bound - 1, event_id="c"), at[2]) is Outcome.LATE
    declared = sign_up("ann", bound - 1, age=20.0)
    assert fold.judge(profile, declared, at[0]) is Outcome.FOLD
    assert fold.judge(fold(profile, declared, at[3]), declared, at[3]) is Outcome.REPLAYED


def test_an_id_is_known_among_the_users_last_64_events() -> None:
    profile = UNKNOWN
    for number in range(65):
        profile = fold(profile, rating("ann", "green", NOON, event_id=f"e{number}"), Position(7, number))
    known = [
        fold.judge(profile, rating("ann", "novel", NOON, event_id=f"e{number}"), Position(7, 99))
        for number in range(65)
    ]
    assert known == [Outcome.FOLD] + [Outcome.DUPLICATE] * 64


def test_half_of_one_hash_and_half_of_the_next_are_no_id() -> None:
    profile = UNKNOWN
    for number in range(64):
        profile = fold(profile, rating("ann", "green", NOON, event_id=f"e{number}"), Position(7, number))
    assert profile.activity is not None
    seen = profile.activity.seen
    wanted = mmh3.mmh3_x64_128_digest(b"wanted")[:8]
    for shift in range(1, 8):
        across = seen[:shift] + wanted + seen[shift + 8 :]
        split = Profile(replace(profile.activity, seen=across))
        assert fold.judge(split, rating("ann", "green", NOON, event_id="wanted"), Position(7, 99)) is (
            Outcome.FOLD
        )
    both = Profile(replace(profile.activity, seen=seen[:3] + wanted + seen[11:16] + wanted + seen[24:]))
    event = rating("ann", "green", NOON, event_id="wanted")
    assert fold.judge(both, event, Position(7, 99)) is Outcome.DUPLICATE


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


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 200), st.sampled_from(ITEMS.ids)), max_size=30),
    st.integers(0, 30),
)
def test_events_fold_together_as_one_by_one(drawn: list[tuple[int, int, str]], cut: int) -> None:
    events = [
        (offset, rating("ann", item, NOON + day * DAY, event_id=f"e{name}"))
        for offset, (name, day, item) in enumerate(drawn)
    ]
    together, alone, refused = UNKNOWN, UNKNOWN, dict[int, Outcome]()
    for part in (events[:cut], events[cut:]):
        together, others = fold.run(together, 7, [fold.prepare(offset, event) for offset, event in part])
        refused |= others
    for offset, event in events:
        outcome = fold.judge(alone, event, Position(7, offset))
        assert outcome is refused.get(offset, Outcome.FOLD)
        if outcome is Outcome.FOLD:
            alone = fold(alone, event, Position(7, offset))
    assert_same(together, alone)
    if together.activity is not None and alone.activity is not None:
        assert together.activity.seen == alone.activity.seen
        assert together.activity.offsets == alone.activity.offsets
