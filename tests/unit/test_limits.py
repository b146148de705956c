"""Rates: a burst, then so many a second, each client for itself."""

import pytest
from google.rpc import error_details_pb2

from service.errors import Overloaded
from service.host.limits import RateLimits


class Clock:
    """A clock that a test turns."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def admitted(limits: RateLimits, client: str, tries: int, per_second: float | None = None) -> int:
    """How many of so many calls were let through."""
    count = 0
    for _ in range(tries):
        try:
            limits.admit(client, per_second)
        except Overloaded:
            continue
        count += 1
    return count


def test_a_client_has_a_burst_and_then_its_rate() -> None:
    clock = Clock()
    limits = RateLimits(10, burst_s=2, clock=clock)
    assert admitted(limits, "shop", 50) == 20
    clock.now += 0.5
    assert admitted(limits, "shop", 50) == 5
    clock.now += 60
    assert admitted(limits, "shop", 50) == 20


def test_clients_do_not_use_up_each_other_s_rate() -> None:
    limits = RateLimits(5, clock=Clock())
    assert [admitted(limits, client, 10) for client in ("shop", "film", "shop")] == [5, 5, 0]


def test_a_client_may_have_a_rate_of_its_own() -> None:
    limits = RateLimits(5, clock=Clock())
    assert admitted(limits, "shop", 50, per_second=20) == 20
    assert admitted(limits, "free", 50, per_second=0) == 50


def test_no_rate_is_no_limit() -> None:
    assert admitted(RateLimits(0), "shop", 1_000) == 1_000


def test_even_less_than_one_a_second_lets_one_through() -> None:
    clock = Clock()
    limits = RateLimits(0.1, clock=clock)
    assert admitted(limits, "shop", 3) == 1
    clock.now += 9
    assert admitted(limits, "shop", 3) == 0
    clock.now += 1
    assert admitted(limits, "shop", 3) == 1


def test_a_refusal_says_when_there_is_room_again() -> None:
    clock = Clock()
    limits = RateLimits(4, clock=clock)
    admitted(limits, "shop", 4)
    with pytest.raises(Overloaded, match="'shop' makes more than 4 calls a second") as refusal:
        limits.admit("shop")
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in refusal.value.details())
    clock.now += retry.retry_delay.ToTimedelta().total_seconds()
    limits.admit("shop")
