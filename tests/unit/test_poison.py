"""The breaker stops a stream of dead letters, not a stream with some."""

import pytest
from kafka.consumer.fetcher import ConsumerRecord

from streaming.batch import Batch
from streaming.decode import Decoder
from streaming.errors import PoisonedError
from streaming.event import encode
from streaming.fold import Fold
from streaming.poison import Breaker
from tests.shop import CATALOGUE, ITEMS
from tests.streams import NOON, rating

GOOD = encode(rating("ann", "novel", NOON))


def batch(good: int, bad: int) -> Batch:
    """So many events, then so many messages that are none."""
    values = [GOOD] * good + [b"poison"] * bad
    records = [
        ConsumerRecord("events", 3, -1, offset, NOON, 0, b"ann", value, [], None, 3, len(value), -1)
        for offset, value in enumerate(values)
    ]
    return Batch(records, Decoder(CATALOGUE, ITEMS), Fold(CATALOGUE, ITEMS), origin=1)


def test_below_the_share_it_lets_everything_pass() -> None:
    breaker = Breaker(share=0.5, sample=100)
    for _ in range(50):
        breaker.check(batch(good=11, bad=9))


def test_a_few_messages_say_nothing() -> None:
    Breaker(share=0.5, sample=100).check(batch(good=0, bad=99))


def test_at_the_share_it_stops_and_says_where_to_look() -> None:
    with pytest.raises(
        PoisonedError, match=r"50 of the last 100 .*partition 3 offset 99.*kindling data load"
    ):
        Breaker(share=0.5, sample=100).check(batch(good=50, bad=50))


def test_it_sees_poison_that_comes_in_small_batches() -> None:
    breaker = Breaker(share=0.5, sample=100)
    for _ in range(9):
        breaker.check(batch(good=2, bad=8))
    with pytest.raises(PoisonedError):
        breaker.check(batch(good=2, bad=8))


def test_what_is_long_past_does_not_excuse_the_present() -> None:
    breaker = Breaker(share=0.5, sample=100)
    for _ in range(100):
        breaker.check(batch(good=100, bad=0))
    with pytest.raises(PoisonedError):
        for _ in range(3):
            breaker.check(batch(good=10, bad=40))


def test_events_after_poison_let_it_go_on() -> None:
    breaker = Breaker(share=0.5, sample=100)
    breaker.check(batch(good=0, bad=60))
    for _ in range(20):
        breaker.check(batch(good=100, bad=0))


def test_a_share_above_one_never_stops() -> None:
    Breaker(share=1.1, sample=10).check(batch(good=0, bad=1_000))
