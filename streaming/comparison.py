"""Comparison: the features of two stores, user by user."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from feature_repo.event_log import events_in, has_events
from feature_repo.workspace import Workspace
from streaming.erasure import observed
from streaming.profile import Profile
from streaming.row import COLUMNS
from streaming.sink import FeatureSink

TOLERANCE = 1e-9

_ROUNDS = 5
_READ_USERS = 5_000
# `seen` and the positions depend on the order in which events came, not only on which they are.
_ACTIVITY = [field for _, field, _ in COLUMNS if field not in ("seen", "sources", "offsets")]
_ATTRIBUTES = ["signed_up_ms", "values"]


class Difference(NamedTuple):
    """A feature of a user that is another in the fresh workspace."""

    user_id: str
    feature: str
    live: object
    fresh: object


class Comparison(NamedTuple):
    """How the fresh features compare to the live ones.

    Attributes:
        users: how many were compared.
        partial: how many more began before the history that was folded.
        differences: none where they are equal, floats to 1e-9.
    """

    users: int
    partial: int
    differences: list[Difference]


def compare(
    workspaces: Collection[Workspace],
    live: FeatureSink,
    fresh: FeatureSink,
    catch_up: Callable[[], object],
    *,
    whole: bool = True,
    begin: Callable[[int], object] = lambda _: None,
    progress: Callable[[int], object] = lambda _: None,
) -> Comparison:
    """Hold every user's fresh features against the live ones.

    Consumers may be running: a user who differs is looked at again after `catch_up`, a few times.

    Args:
        workspaces: whose logs name the users.
        catch_up: folds into `fresh` what came meanwhile.
        whole: whether `fresh` has all of the history; otherwise a user of whom it has fewer events is
            not compared.
    """
    users: list[str] = sorted(set().union(*map(_users, workspaces)))
    begin(len(users))
    differences, partial, suspects = list[Difference](), set[str](), users
    for attempt in range(_ROUNDS):
        differences = []
        for chunk in _chunks(suspects):
            ours, theirs = live.read(chunk), fresh.read(chunk)
            for user in chunk:
                if not whole and _count(theirs[user]) < _count(ours[user]):
                    partial.add(user)
                    continue
                partial.discard(user)
                differences.extend(differ(user, ours[user], theirs[user]))
            if not attempt:
                progress(len(chunk))
        suspects = sorted({each.user_id for each in differences})
        if not suspects:
            break
        catch_up()
    return Comparison(len(users) - len(partial), len(partial), differences)


def differ(user_id: str, live: Profile, fresh: Profile) -> Iterator[Difference]:
    """The features in which two profiles of a user differ; an erased one is like one never seen."""
    ours, theirs = observed(live), observed(fresh)
    for one, other, fields in (
        (ours.activity, theirs.activity, _ACTIVITY),
        (ours.attributes, theirs.attributes, _ATTRIBUTES),
    ):
        for name in fields if one or other else ():
            a, b = getattr(one, name, None), getattr(other, name, None)
            if not _is_equal(a, b):
                yield Difference(user_id, name, a, b)


def _is_equal(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_is_equal, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(one == other)


def _count(profile: Profile) -> int:
    return profile.activity.event_count if profile.activity else 0


def _users(workspace: Workspace) -> set[str]:
    """Everyone of whom an event was logged."""
    if not has_events(workspace):
        return set()
    with events_in(workspace, ["user_id"]) as connection:
        return {user for (user,) in connection.execute("SELECT DISTINCT user_id FROM events").fetchall()}


def _chunks(users: Sequence[str]) -> Iterator[list[str]]:
    remaining = iter(users)
    while chunk := list(islice(remaining, _READ_USERS)):
        yield chunk
