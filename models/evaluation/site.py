"""A site as some of its users alone tell of it: what they did, and what they wrote of its items."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.catalogue import load_catalogue, load_items
from models.datasets.dataset import EVENTS_FILE
from models.schema import Floats, Indices, TensorSchema
from models.training.examples import Examples
from models.training.ground import examples_of
from models.training.histories import Histories, item_category_shares, load_histories
from models.training.pretraining import Users

Encode = Callable[[Sequence[str]], Floats]
"""[N, W] vectors of texts, in one space."""

_NOBODY = -1


@dataclass(frozen=True)
class View:
    """What is known of a site: examples to learn from, and how often each item was used [I]."""

    users: Users
    examples: Examples
    popularity: Floats


@dataclass(frozen=True)
class Site:
    """A catalogue, its users, and what is written of its items.

    Attributes:
        texts: [T] what users wrote, where there is any such text; else the items' own texts.
        about: [T] the item each is about.
        authors: [T] the user who wrote it, −1 for an item's own.
    """

    name: str
    schema: TensorSchema
    item_shares: Floats
    histories: Histories
    texts: list[str]
    about: Indices
    authors: Indices

    @property
    def size(self) -> int:
        """How many users it has."""
        return len(self.histories.user_ids)

    def seen_by(self, users: Users, meanings: Floats) -> View:
        """What these users tell. An item lies where the mean of what they wrote of it does.

        Vectors are of unit length around the site's mean, so that what all its items have in common, which
        tells one site from another, tells nothing; an item that nobody wrote of is the zero vector.

        Args:
            meanings: [T, W] vectors of the texts.
        """
        told = np.isin(self.authors, [*users.train.tolist(), _NOBODY])
        sums = np.zeros((self.schema.item_count, meanings.shape[1]))
        np.add.at(sums, self.about[told], meanings[told])
        written = np.bincount(self.about[told], minlength=len(sums))[:, None]
        vectors = sums / np.maximum(written, 1)
        around = (vectors - vectors[written[:, 0] > 0].mean(axis=0)) * (written > 0)
        vectors = around / np.maximum(np.linalg.norm(around, axis=1, keepdims=True), 1e-9)
        events = self.histories.after(users.train, 0).events
        popularity = np.bincount(self.histories.items[events], minlength=len(sums))
        return View(
            users,
            examples_of(
                self.histories, users.train, self.schema, self.item_shares, vectors.astype(np.float32)
            ),
            popularity.astype(np.float32),
        )


def load_site(folder: Path) -> Site:
    """The data set in `folder`. Where its users wrote of items, an item has no other text than that.

    Raises:
        CatalogueError: no data set is there.
    """
    catalogue = load_catalogue(folder)
    items = load_items(folder, catalogue)
    histories = load_histories(folder, catalogue, items)
    events = pq.read_table(folder / EVENTS_FILE, columns=["user_id", "item_id", "text"])
    events = events.filter(
        pc.and_(pc.is_valid(events["text"]), pc.is_in(events["item_id"], pa.array(items.ids)))
    )
    row = {user: place for place, user in enumerate(histories.user_ids)}
    if len(events):
        texts = events["text"].to_pylist()
        about = [items.index[item] for item in events["item_id"].to_pylist()]
        authors = [row[user] for user in events["user_id"].to_pylist()]
    else:
        texts, about, authors = items.texts, list(range(len(items))), [_NOBODY] * len(items)
    return Site(
        catalogue.name,
        TensorSchema.of(catalogue, items),
        item_category_shares(catalogue, items),
        histories,
        texts,
        np.array(about, np.int64),
        np.array(authors, np.int64),
    )
