"""The school: who is taught on what. Warm users alone train teachers and are taught about."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from feature_repo.catalogue import Catalogue, Items, load_catalogue, load_items
from models.knowledge.descriptions import enrich
from models.knowledge.space import content_space
from models.knowledge.views import fuse_views
from models.schema import Floats, Indices
from models.teachers.behaviour import Behaviour
from models.teachers.behaviour_fit import MEMBERS, fit_behaviour
from models.teachers.cases import load_logs
from models.teachers.encoder import SentenceEncoder
from models.teachers.port import Case
from models.training.histories import Histories, load_histories
from models.training.item_vectors import fit_item_vectors
from models.training.loop import OnEpoch, unwatched
from models.training.split import Split, split_by_join_time


@dataclass(frozen=True)
class School:
    """A data set split as training splits it, and the whole logs of its warm users before the cutoff.

    Attributes:
        train, validation: logs; held-out users have none here.
    """

    folder: Path
    catalogue: Catalogue
    items: Items
    histories: Histories
    split: Split
    train: list[Case]
    validation: list[Case]

    @classmethod
    def open(cls, folder: Path) -> "School":
        """The school of the data set in `folder`; what training users wrote of an item describes it.

        Raises:
            CatalogueError: no data set was loaded.
            TrainingError: too few users to split.
        """
        catalogue = load_catalogue(folder)
        items = load_items(folder, catalogue)
        histories = load_histories(folder, catalogue, items)
        split = split_by_join_time(histories)

        def logs(users: Indices) -> list[Case]:
            return load_logs(folder, [histories.user_ids[user] for user in users], split.cutoff_ms)

        train = logs(split.train)
        described = _described(catalogue, items, train)
        return cls(folder, catalogue, described, histories, split, train, logs(split.validation))

    @property
    def popularity(self) -> Floats:
        """[I] events of training users."""
        past = self.histories.before(self.split.cutoff_ms)
        used = past.items[past.after(self.split.train, 0).events]
        return np.bincount(used, minlength=len(self.items)).astype(np.float32)

    def content(self, encoder: SentenceEncoder | None = None, cache: Path | None = None) -> Floats:
        """[I, any] what is known of items beside behaviour: words and graph, and meanings by an encoder."""
        meanings = None if encoder is None else encoder.encode(self.items.texts, cache)
        return content_space(self.catalogue, self.items, meanings)

    def train_behaviour(
        self,
        content: Floats,
        seed: int = 0,
        members: int = MEMBERS,
        on_epoch: OnEpoch = unwatched,
    ) -> Behaviour:
        """A behaviour teacher whose items start from `content` and from who used them."""
        past, width = self.histories.before(self.split.cutoff_ms), self.catalogue.embedding_width
        vectors = fit_item_vectors(past, self.split.train, content, width, seed)
        start = fuse_views({"content": content, "behaviour": vectors})
        return fit_behaviour(
            self.catalogue, self.items, start, self.train, self.validation, seed, members, on_epoch=on_epoch
        )

    def warm(self) -> Sequence[Case]:
        """Logs of training users, then of validation users."""
        return [*self.train, *self.validation]

    def held_out(self) -> list[Case]:
        """Whole logs of held-out users, to grade teachers by: nothing may learn from them."""
        return load_logs(self.folder, [self.histories.user_ids[user] for user in self.split.held_out])


def _described(catalogue: Catalogue, items: Items, logs: Sequence[Case]) -> Items:
    """The items, those that anyone here wrote of enriched by it."""
    reviews: dict[str, list[str]] = {}
    for event in (event for log in logs for event in log.events if event.text):
        reviews.setdefault(event.item_id, []).append(event.text or "")
    places = [items.index[item_id] for item_id in reviews if item_id in items.index]
    return enrich(catalogue, items, reviews, np.array(places, np.int64)) if places else items
