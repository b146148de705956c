"""The canary's users: the same ones everywhere, more of them as the share grows, about as many as asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.versions.canary import Canary


@given(st.text(), st.floats(0.001, 1), st.floats(0.001, 1))
def test_whoever_is_served_at_a_share_is_served_at_every_larger_one(
    user: str, one: float, other: float
) -> None:
    small, large = sorted((one, other))
    assert Canary("v2", small).takes(user) <= Canary("v2", large).takes(user)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 1.0])
def test_about_as_many_users_as_asked_are_taken(share: float) -> None:
    canary = Canary("v2", share)
    taken = sum(canary.takes(str(user)) for user in range(20_000)) / 20_000
    assert taken == pytest.approx(share, abs=0.015)


def test_the_same_users_are_taken_in_every_process_but_others_by_another_version() -> None:
    users = [f"u{user}" for user in range(200)]
    first = [user for user in users if Canary("v2", 0.1).takes(user)]
    assert first[:3] == ["u27", "u32", "u33"]
    assert first != [user for user in users if Canary("v3", 0.1).takes(user)]
