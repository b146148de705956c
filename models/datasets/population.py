"""Who and what make up the simulated shop: users with tastes, items with loadings, in one latent space."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LATENT = 8
ATTRIBUTES = {"region": 6, "occupation": 8, "device": 3}
AGE_RANGE = (16, 80)
MISSING = 0.05
FROM_ATTRIBUTES = 0.6  # share of the variance of taste that attributes explain
ZIPF_EXPONENT = 0.9


@dataclass(frozen=True)
class Users:
    """Who comes to the shop."""

    declared: dict[str, list[str | None] | list[float | None]]
    taste: Floats  # [users, latent]
    by_attributes: Floats  # [users, latent], the part of taste that attributes explain
    drift: Floats  # [users, latent], by which taste moves from the first day to the last
    joined: Floats  # [users], 0..1 of the simulated time


@dataclass(frozen=True)
class Items:
    """What the shop offers."""

    category_loading: Floats  # [categories, latent]
    categories: Ints  # [items, 2]; the second equals the first where an item has one category
    loading: Floats  # [items, latent]
    popularity: Floats  # [items], a logit
    trend: Floats  # [items], added to popularity from the first day to the last


def draw_items(rng: np.random.Generator, items: int, categories: int) -> Items:
    """Items spread evenly over categories, half of them with a second one."""
    loading = rng.normal(size=(categories, LATENT))
    loading /= np.linalg.norm(loading, axis=1, keepdims=True)
    first = rng.permutation(np.arange(items) % categories)
    second = np.where(rng.random(items) < 0.5, rng.integers(categories, size=items), first)
    pairs = np.stack([first, second], axis=1)
    own = rng.normal(scale=0.3 / np.sqrt(LATENT), size=(items, LATENT))
    rank = rng.permutation(items) + 1
    return Items(
        category_loading=loading,
        categories=pairs,
        loading=loading[pairs].mean(axis=1) + own,
        popularity=-ZIPF_EXPONENT * np.log(rank),
        trend=rng.normal(scale=0.8, size=items),
    )


def draw_users(rng: np.random.Generator, users: int) -> Users:
    """Users whose attributes explain part of their taste; now and then an attribute is not declared."""
    declared: dict[str, list[str | None] | list[float | None]] = {}
    explained = np.zeros((users, LATENT))
    for name, width in ATTRIBUTES.items():
        share = rng.dirichlet(np.full(width, 5.0))
        value = rng.choice(width, size=users, p=share)
        explained += rng.normal(size=(width, LATENT))[value]
        known = rng.random(users) >= MISSING
        declared[name] = [
            f"{name} {chr(ord('a') + v)}" if k else None for v, k in zip(value, known, strict=True)
        ]
    age = np.clip(np.round(AGE_RANGE[0] + rng.gamma(3.0, 8.0, size=users)), *AGE_RANGE)
    young = np.tanh((age - 38) / 10)[:, None]  # tastes turn fastest around the middle of life
    explained += young * rng.normal(scale=1.2, size=LATENT)
    known = rng.random(users) >= MISSING
    declared["age"] = [float(a) if k else None for a, k in zip(age, known, strict=True)]

    explained = (explained - explained.mean(axis=0)) / (explained.std(axis=0) + 1e-9)
    explained *= np.sqrt(FROM_ATTRIBUTES)
    own = rng.normal(scale=np.sqrt(1 - FROM_ATTRIBUTES), size=(users, LATENT))
    # One in three is there from the start, the last join when a tenth of the time is left.
    joined = np.where(rng.random(users) < 1 / 3, 0.0, rng.uniform(0.0, 0.9, size=users))
    drift = rng.normal(scale=0.6, size=(users, LATENT))
    return Users(declared, explained + own, explained, drift, joined)
