"""Histories: who did what when, as arrays, and what would be known of a user from some of their events.

The arithmetic is the stream's: a model trained on these tensors meets the same ones when it serves.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.catalogue import Catalogue, Items
from models.schema import Floats, Indices, Tensors, TensorSchema
from models.training.logged import Logged

Doubles = npt.NDArray[np.float64]

_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Cut:
    """Some events of some users: what is shown to a model, or what it should foresee.

    Attributes:
        users: [B] the user of each row.
        rows: [n] the row each event belongs to, ascending.
        events: [n] positions in the histories' event arrays, in order of time within a row.
    """

    users: Indices
    rows: Indices
    events: Indices

    @cached_property
    def counts(self) -> Indices:
        """[B] events in each row."""
        return np.bincount(self.rows, minlength=len(self.users))


@dataclass(frozen=True)
class Histories:
    """All users' events, users in order of joining, each user's events in order of (time, event id).

    Attributes:
        user_ids: [U].
        starts: [U + 1] where each user's events begin.
        items: [E] item positions.
        weights: [E] undecayed event weights.
        values: [E] event values, NaN where there is none.
        times_ms: [E] milliseconds since the epoch.
        attributes: [U, A] declared attributes, one-hot.
        item_ranks: [I] the rank of each item's id among all.
    """

    user_ids: list[str]
    starts: Indices
    items: Indices
    weights: Doubles
    values: Doubles
    times_ms: Indices
    attributes: Floats
    item_ranks: Indices

    @cached_property
    def counts(self) -> Indices:
        """[U] events of each user."""
        return np.diff(self.starts)

    @cached_property
    def owners(self) -> Indices:
        """[E] the user of each event."""
        return np.repeat(np.arange(len(self.user_ids)), self.counts)

    @property
    def joined_ms(self) -> Indices:
        """[U] each user's first event, ascending; every user must have one."""
        return self.times_ms[self.starts[:-1]]

    def before(self, cutoff_ms: int) -> "Histories":
        """The same users with only their events strictly before `cutoff_ms`."""
        kept = self.times_ms < cutoff_ms
        counts = np.bincount(self.owners[kept], minlength=len(self.user_ids))
        return replace(
            self,
            starts=np.concatenate([[0], np.cumsum(counts)]),
            items=self.items[kept],
            weights=self.weights[kept],
            values=self.values[kept],
            times_ms=self.times_ms[kept],
        )

    def span(self, users: Indices, begin: Indices, end: Indices) -> Cut:
        """Each user's events from the `begin`-th up to but not including the `end`-th."""
        end = np.minimum(end, self.counts[users])
        lengths = np.maximum(end - begin, 0)
        rows = np.repeat(np.arange(len(users)), lengths)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return Cut(users, rows, (self.starts[users] + begin)[rows] + within)

    def first(self, users: Indices, count: int | Indices) -> Cut:
        """Each user's first `count` events."""
        return self.span(users, np.zeros_like(users), np.broadcast_to(count, users.shape))

    def after(self, users: Indices, count: int | Indices) -> Cut:
        """Each user's events after the first `count`."""
        return self.span(users, np.broadcast_to(count, users.shape), self.counts[users])

    def observe(self, cut: Cut, schema: TensorSchema, item_shares: Floats) -> Tensors:
        """The schema's input tensors for users of whom only the events of `cut` are known.

        Args:
            item_shares: [I, C], see `item_category_shares`.
        """
        cut = self._as_kept(cut)
        rows, size = cut.rows, len(cut.users)
        weights = self._decayed(cut, schema.catalogue.half_life_days)
        items = self.items[cut.events]
        mass = sums_by_row(weights[:, None] * item_shares[items], rows, size)  # [B, C]
        total = mass.sum(axis=1, keepdims=True)
        age = (np.cumsum(cut.counts)[rows] - 1) - np.arange(len(rows))  # 0 is the newest
        recent = age < min(schema.history_length, schema.catalogue.recent_length)
        history_items = np.zeros((size, schema.history_length), np.int64)
        history_weights = np.zeros((size, schema.history_length), np.float32)
        history_items[rows[recent], age[recent]] = items[recent] + 1
        history_weights[rows[recent], age[recent]] = weights[recent]
        return {
            "affinity": (mass / np.where(total > 0, total, 1)).astype(np.float32),
            "history_items": history_items,
            "history_weights": history_weights,
            "attributes": self.attributes[cut.users],
            "count": cut.counts[:, None].astype(np.float32),
        }

    def mean_values(self, cut: Cut) -> Doubles:
        """[B] mean value of the events of each row, NaN where none has one."""
        values = self.values[cut.events]
        given = ~np.isnan(values)
        sums = np.bincount(cut.rows[given], values[given], len(cut.users))
        counts = np.bincount(cut.rows[given], minlength=len(cut.users))
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    def pooled(self, cut: Cut, item_vectors: Floats) -> Floats:
        """[B, D] mean item vector of all events of each row, by event weight; zeros without any."""
        weights = self.weights[cut.events]
        sums = sums_by_row(
            weights[:, None] * item_vectors[self.items[cut.events]], cut.rows, len(cut.users)
        )
        total = np.bincount(cut.rows, weights, len(cut.users))[:, None]
        return np.asarray(sums / np.where(total > 0, total, 1), np.float32)

    def _as_kept(self, cut: Cut) -> Cut:
        """The cut's events as a profile keeps them: those of one time in order of item and weight."""
        items, weights = self.items[cut.events], self.weights[cut.events]
        order = np.lexsort((weights, self.item_ranks[items], self.times_ms[cut.events], cut.rows))
        return replace(cut, events=cut.events[order])

    def _decayed(self, cut: Cut, half_life_days: float) -> Doubles:
        """Weights of the cut's events, decayed to the newest event of their row."""
        times = self.times_ms[cut.events]
        newest = times[np.cumsum(cut.counts)[cut.rows] - 1]
        weights: Doubles = self.weights[cut.events] * np.exp2((times - newest) / _DAY_MS / half_life_days)
        return weights


def sums_by_row(terms: Doubles | Floats, rows: Indices, size: int) -> Doubles:
    """[size, width] sums of `terms` [n, width] by their row; `rows` ascends."""
    sums = np.zeros((size, terms.shape[1]))
    firsts = np.flatnonzero(np.diff(rows, prepend=-1))
    if len(firsts):
        sums[rows[firsts]] = np.add.reduceat(terms, firsts, axis=0)
    return sums


def item_category_shares(catalogue: Catalogue, items: Items) -> Floats:
    """[I, C] each item's categories in equal shares."""
    shares = np.zeros((len(items), len(catalogue.categories)), np.float32)
    for position, categories in enumerate(items.categories):
        shares[position, list(categories)] = 1 / max(len(categories), 1)
    return shares


def load_histories(
    folder: Path, catalogue: Catalogue, items: Items, logged: Logged | None = None
) -> Histories:
    """Read `events.parquet` and `users.parquet`; events of items not in `items` are left out.

    Args:
        logged: what the stream has logged, to be added.
    """
    events = pq.read_table(folder / "events.parquet")
    if logged is not None:
        events = logged.added_to(events)
    events = events.append_column("item", pc.index_in(events["item_id"], value_set=pa.array(items.ids)))
    events = events.filter(pc.is_valid(events["item"])).sort_by(
        [("event_time", "ascending"), ("event_id", "ascending")]
    )
    # Sorted by time, so users appear in the order in which they joined.
    user_ids = events["user_id"].unique().to_pylist()
    owners = pc.index_in(events["user_id"], value_set=pa.array(user_ids, pa.string())).to_numpy()
    order = np.argsort(owners, kind="stable")
    types, values = events["type"].to_pylist(), events["value"].to_pylist()
    weights = [catalogue.event_weight(kind, value) for kind, value in zip(types, values, strict=True)]
    declared = {row.pop("user_id"): row for row in pq.read_table(folder / "users.parquet").to_pylist()}
    if logged is not None:
        declared |= logged.attributes
    attributes = np.zeros((len(user_ids), catalogue.attribute_width), np.float32)
    for row, user_id in enumerate(user_ids):
        attributes[row, catalogue.attribute_slots(declared.get(user_id, {}))] = 1
    return Histories(
        user_ids=user_ids,
        starts=np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=len(user_ids)))]).astype(
            np.int64
        ),
        items=events["item"].to_numpy().astype(np.int64)[order],
        weights=np.asarray(weights, np.float64)[order],
        values=np.array([np.nan if value is None else value for value in values], np.float64)[order],
        times_ms=events["event_time"].cast(pa.timestamp("ms", tz="UTC")).cast(pa.int64()).to_numpy()[order],
        attributes=attributes,
        item_ranks=np.argsort(np.argsort(np.array(items.ids))),
    )
