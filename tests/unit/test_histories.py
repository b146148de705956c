"""Histories: training tensors are those that serving builds from the feature store's profile."""

import numpy as np
import pytest

from models.schema import PastEvent, TensorSchema, observed_embedding, sparse_profile
from models.training.examples import few_shot
from models.training.histories import item_category_shares
from streaming.history import events_of
from tests import checkerboard


@pytest.mark.parametrize("count", [0, 1, 2, 7, 24])
def test_observing_a_cut_is_encoding_what_the_stream_folds_of_the_same_events(count: int) -> None:
    catalogue, items = checkerboard.catalogue_and_items()
    histories, schema = checkerboard.histories(), TensorSchema.of(catalogue, items)
    users = np.arange(10)
    shares = item_category_shares(catalogue, items)
    trained_on = histories.observe(histories.first(users, count), schema, shares)
    profiles = [checkerboard.folded(int(user), count) for user in users]
    served = schema.encode(profiles, items.index)
    for name, array in served.items():
        np.testing.assert_allclose(trained_on[name], array, atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 6, 24])
def test_a_profile_sent_inline_is_what_the_stream_folds_of_the_same_events(count: int) -> None:
    catalogue, items = checkerboard.catalogue_and_items()
    for user in range(5):
        stream = events_of(checkerboard.shop(), users=[f"u{user}"])
        used = [event for event in stream if event.item_id is not None][:count]
        # Newest first: an inline profile has no event ids to tell simultaneous events apart by.
        past = [PastEvent(e.item_id or "", e.type, e.value, e.time_ms) for e in reversed(used)]
        folded = checkerboard.folded(user, count)
        inline = sparse_profile(past, folded.attributes, catalogue, items)
        assert (inline.event_count, list(inline.items)) == (folded.event_count, list(folded.items))
        np.testing.assert_allclose(inline.weights, folded.weights)
        np.testing.assert_allclose(inline.affinity, folded.affinity)


def test_users_come_in_order_of_joining_and_events_in_order_of_time_then_id() -> None:
    histories = checkerboard.histories()
    assert histories.user_ids == [f"u{user}" for user in range(checkerboard.USERS)]
    assert (np.diff(histories.joined_ms) > 0).all()
    for user in (0, 17):
        times = histories.times_ms[histories.starts[user] : histories.starts[user + 1]]
        assert (np.diff(times) >= 0).all()


def test_the_newest_of_simultaneous_events_is_the_one_on_the_highest_item() -> None:
    _, items = checkerboard.catalogue_and_items()
    histories = checkerboard.histories()
    for user in range(checkerboard.USERS):
        pair = slice(histories.starts[user], histories.starts[user] + 2)
        # Events come in pairs of one time.
        assert np.ptp(histories.times_ms[pair]) == 0
        highest = max(items.ids[item] for item in histories.items[pair])
        assert checkerboard.folded(user, 2).items[0] == highest


def test_event_weight_is_shared_by_categories_and_decayed_to_the_newest_event() -> None:
    _, items = checkerboard.catalogue_and_items()
    histories = checkerboard.histories()
    profile = checkerboard.folded(3, 3)
    age_days = 20 / 60 / 24  # the third event comes 20 minutes after the first two
    expected = np.zeros(3)
    for event, age in zip(range(3), (age_days, age_days, 0), strict=True):
        position = histories.starts[3] + event
        value = histories.values[position]
        weight = (0.5 + 0.5 * (value - 1) / 4) * 2 ** (-age / 30.0)
        for category in items.categories[histories.items[position]]:
            expected[category] += weight / 2
    np.testing.assert_allclose(profile.affinity, expected)


def test_a_past_ends_strictly_before_its_cutoff() -> None:
    histories = checkerboard.histories()
    cutoff = int(histories.joined_ms[20])
    past = histories.before(cutoff)
    assert past.times_ms.max() < cutoff
    assert past.counts.sum() == (histories.times_ms < cutoff).sum()
    assert past.counts[20:].sum() == 0
    assert past.user_ids == histories.user_ids


def test_few_shot_cuts_hold_few_events_leave_some_and_keep_their_order() -> None:
    histories = checkerboard.histories()
    users = np.arange(checkerboard.USERS)
    sizes, earliest = set(), 0
    for seed in range(8):
        cut = few_shot(histories, users, 10, np.random.default_rng(seed))
        sizes |= set(cut.counts.tolist())
        for row, user in enumerate(users):
            events = cut.events[cut.rows == row]
            assert (np.diff(events) > 0).all()
            assert ((events >= histories.starts[user]) & (events < histories.starts[user + 1])).all()
            earliest += len(events) > 1 and events[-1] - histories.starts[user] == len(events) - 1
    assert sizes == set(range(11))
    assert earliest > 100


def test_mean_values_and_pooled_vectors_by_hand() -> None:
    histories = checkerboard.histories()
    cut = histories.first(np.array([5, 6]), np.array([2, 0]))
    events = histories.starts[5] + np.arange(2)
    assert histories.mean_values(cut)[0] == histories.values[events].mean()
    assert np.isnan(histories.mean_values(cut)[1])
    vectors = np.random.default_rng(0).random((checkerboard.ITEMS, 8)).astype(np.float32)
    weights = histories.weights[events]
    expected = weights @ vectors[histories.items[events]] / weights.sum()
    pooled = histories.pooled(cut, vectors)
    np.testing.assert_allclose(pooled[0], expected, rtol=1e-6)
    assert not pooled[1].any()


def test_pooled_and_observed_embedding_agree_on_simultaneous_events() -> None:
    catalogue, items = checkerboard.catalogue_and_items()
    histories, schema = checkerboard.histories(), TensorSchema.of(catalogue, items)
    cut = histories.first(np.arange(4), 2)
    vectors = np.random.default_rng(0).random((len(items), 8)).astype(np.float32)
    observed = histories.observe(cut, schema, item_category_shares(catalogue, items))
    np.testing.assert_allclose(
        observed_embedding(observed, vectors), histories.pooled(cut, vectors), rtol=1e-5
    )
