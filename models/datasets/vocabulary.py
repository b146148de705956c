"""Vocabularies out of data: which user columns become attributes, and which categories items have."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from feature_repo.catalogue import Attribute

MAX_CATEGORIES = 256
MAX_VALUES = 64
BUCKETS = 6
OTHER = "other"

Kind = Literal["category", "number", "token"]
"""What a source says of a user column; a `token` may turn out to be either of the others."""

# Tokens like these count or measure something; a leading zero or a fifth digit makes a code (a zip, an id).
_QUANTITY = re.compile(r"-?(0|[1-9]\d{0,3})(\.\d+)?")
# A scale coded by few numbers (an age group, a job number) is a category.
_FEWEST_QUANTITIES = 24


class UnsuitableError(ValueError):
    """A user column is no attribute; the message says why."""


def attribute(name: str, kind: Kind, values: Sequence[str | None], users: int) -> Attribute:
    """The attribute that a column of declared `values` (None where missing) makes for that many users.

    A category needs few values: at most 64, and ten users to each on average, or a prior by
    category would learn single people. A number is cut at quantiles into about 6 buckets. A token
    is a number if all its values look like quantities and there are many of them.

    Raises:
        UnsuitableError: too many values, or fewer than two.
    """
    counts = Counter(value for value in values if value is not None)
    if len(counts) < 2:
        raise UnsuitableError("the same for all users" if counts else "empty for all users")
    looks_number = len(counts) > _FEWEST_QUANTITIES and all(map(_QUANTITY.fullmatch, counts))
    if kind == "number" or (kind == "token" and looks_number):
        edges = bucket_edges([float(value) for value in values if value is not None])
        return Attribute(name=name, kind="number", edges=edges)
    if len(counts) == counts.total():
        raise UnsuitableError("a different value for every user")
    most = max(2, min(MAX_VALUES, users // 10))
    if len(counts) > most:
        raise UnsuitableError(f"{len(counts)} values for {users} users: more than {most} make no category")
    return Attribute(name=name, kind="category", values=_by_frequency(counts))


def bucket_edges(values: Sequence[float]) -> tuple[float, ...]:
    """The inner edges that cut `values`, two of them different, into at most 6 buckets, none empty."""
    array = np.asarray(values, dtype=np.float64)
    # An edge belongs to the bucket above it, so one at the minimum would leave the first bucket empty.
    cuts = np.unique(np.quantile(array, np.arange(1, BUCKETS) / BUCKETS))
    edges = [float(cut) for cut in cuts if cut > array.min()]
    return tuple(edges) or (float(array.max()),)


def categories(of_items: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """All categories that items have, the most frequent first; past 256 the rest become `other`."""
    ordered = _by_frequency(Counter(name for names in of_items for name in names))
    if len(ordered) <= MAX_CATEGORIES:
        return ordered
    return (*(name for name in ordered[: MAX_CATEGORIES - 1] if name != OTHER), OTHER)


def within(vocabulary: frozenset[str], names: Sequence[str]) -> list[str]:
    """An item's categories without repetition, those outside the vocabulary as `other`."""
    return list(dict.fromkeys(name if name in vocabulary else OTHER for name in names))


def _by_frequency(counts: Counter[str]) -> tuple[str, ...]:
    return tuple(sorted(counts, key=lambda name: (-counts[name], name)))
