"""The port of every teacher: cases in, lessons out. A student learns from the lessons, whoever taught."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec
import numpy as np

from models.schema import Floats

MOST_ITEMS = 200
"""Soft labels that a lesson keeps: the likeliest items."""


class TeacherError(ValueError):
    """A teacher cannot teach; the message names what it lacks and the fix."""


class CaseEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing a user did.

    Attributes:
        value: a rating, say, on the catalogue's scale.
        text: what the user wrote of the item.
        sentiment: polarity of that text, −1 to 1.
    """

    item_id: str
    type: str
    value: float | None = None
    text: str | None = None
    sentiment: float | None = None


class Case(msgspec.Struct, frozen=True):
    """What a teacher is shown of a user: declared attributes and the first events, in order of time."""

    user_id: str
    attributes: dict[str, str | float | None]
    events: tuple[CaseEvent, ...] = ()

    @property
    def count(self) -> int:
        """How many events are shown."""
        return len(self.events)

    def key(self) -> str:
        """A digest of what is shown, whoever the user is: equal keys deserve equal lessons."""
        canonical = msgspec.json.encode([self.attributes, self.events], order="deterministic")
        return hashlib.sha256(canonical).hexdigest()[:32]


class Lesson(msgspec.Struct, frozen=True):
    """What a teacher expects of a user after the events it was shown.

    Attributes:
        user_id, count: which case it is about: the user's first `count` events.
        items: ids of the items most likely to be used later, likeliest first, at most `MOST_ITEMS`;
            none of those shown.
        item_weights: soft label of each, summing to 1.
        affinity: [C] shares of the categories of all that is likely to be used, summing to 1.
        embedding: the teacher's last hidden state, of a width of its own, where it has one.
        confidence: 0 to 1, how far to trust it.
        rationale: why, in one line.
        liked, disliked: kinds of items, in words.
        queries: what the user might search for.
    """

    user_id: str
    count: int
    items: tuple[str, ...]
    item_weights: tuple[float, ...]
    affinity: tuple[float, ...]
    embedding: tuple[float, ...] | None = None
    confidence: float = 0.0
    rationale: str = ""
    liked: tuple[str, ...] = ()
    disliked: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()


class Teacher(Protocol):
    """Anything that can be asked.

    Attributes:
        name: what kind of teacher.
        version: digest of everything its lessons depend on beside the case: weights, prompt, settings.
    """

    name: str
    version: str

    def teach(self, cases: Sequence[Case]) -> Iterator[Lesson]:
        """A lesson a case, in order; cases that come to no valid one are left out."""
        ...


def soft_labels(
    shares: Floats, item_ids: Sequence[str], most: int = MOST_ITEMS
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The likeliest items by `shares` [I] and their weights, which sum to 1; ties in catalogue order.

    Raises:
        TeacherError: no share is positive.
    """
    order = np.argsort(-shares, kind="stable")[:most]
    order = order[shares[order] > 0]
    if not len(order):
        raise TeacherError("no item has a positive share: a lesson needs at least one")
    kept = shares[order].astype(np.float64)
    weights = kept / kept.sum()
    return tuple(item_ids[place] for place in order), tuple(weights.tolist())


def settings_digest(*parts: object) -> str:
    """The version of a teacher made of these settings."""
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:32]
