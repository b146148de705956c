"""The teacher that reads: what a user will use is like in meaning to what they used and liked."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from feature_repo.catalogue import Catalogue, Items
from models.schema import Floats
from models.teachers.encoder import SentenceEncoder
from models.teachers.port import Case, CaseEvent, Lesson, settings_digest, soft_labels
from models.training.histories import item_category_shares

SHARPNESS = 8.0
"""How steeply soft labels fall with the distance in meaning."""

_DOUBT = 2.0
_NAMED = 3


class Text:
    """Soft labels by popularity, and by nearness to the mean meaning of the events, each as it pleased.

    With no event, popularity alone speaks. A review counts by its sentiment where no value is given. New
    items need nothing but their text.

    Args:
        popularity: [I] events of training users.
        cache: folder to keep the items' vectors in.
    """

    name = "text"

    def __init__(
        self,
        encoder: SentenceEncoder,
        catalogue: Catalogue,
        items: Items,
        popularity: Floats,
        cache: Path | None = None,
    ) -> None:
        self._encoder, self._catalogue, self._items = encoder, catalogue, items
        self._vectors = encoder.encode(items.texts, cache)  # [I, W]
        self._centre = self._vectors.mean(axis=0)
        self._popularity = np.log(popularity + 1.0)
        self._shares = item_category_shares(catalogue, items)
        self.version = settings_digest(
            encoder.version, items.ids, items.texts, popularity.tolist(), SHARPNESS
        )

    def teach(self, cases: Sequence[Case]) -> Iterator[Lesson]:
        """A lesson a case; every case comes to a valid one."""
        usual = _softmax(self._popularity) @ self._shares
        for case in cases:
            taste, shown = self._taste(case)
            scores = (
                self._popularity / (1 + len(shown)) + SHARPNESS * (self._vectors - self._centre) @ taste
            )
            scores[shown] = -np.inf
            chances = _softmax(scores)
            affinity = chances @ self._shares
            lift = affinity * np.log(np.maximum(affinity, 1e-6) / np.maximum(usual, 1e-6))
            names, order = self._catalogue.categories, np.argsort(-lift)
            labels, weights = soft_labels(chances.astype(np.float32), self._items.ids)
            yield Lesson(
                user_id=case.user_id,
                count=case.count,
                items=labels,
                item_weights=weights,
                affinity=tuple((affinity / max(affinity.sum(), 1e-12)).tolist()),
                embedding=tuple(taste.tolist()),
                confidence=len(shown) / (len(shown) + _DOUBT),
                rationale=self._rationale(shown, labels[0]),
                liked=tuple(names[place] for place in order[:_NAMED] if lift[place] > 0),
                disliked=tuple(names[place] for place in order[::-1][:_NAMED] if lift[place] < 0),
            )

    def _taste(self, case: Case) -> tuple[Floats, list[int]]:
        """[W] the mean meaning of the events around that of all items, and the items shown."""
        known = [event for event in case.events if event.item_id in self._items.index]
        shown = [self._items.index[event.item_id] for event in known]
        if not known:
            return np.zeros_like(self._centre), []
        weights = np.array([self._weight(event) for event in known])
        taste = weights @ (self._vectors[shown] - self._centre)
        length = float(np.linalg.norm(taste))
        return np.asarray(taste / max(length, 1e-12), np.float32), shown

    def _weight(self, event: CaseEvent) -> float:
        if event.value is None and event.sentiment is not None:
            return 0.75 + 0.25 * event.sentiment
        return self._catalogue.event_weight(event.type, event.value)

    def _rationale(self, shown: Sequence[int], likeliest: str) -> str:
        place, titles = self._items.index[likeliest], self._items.titles
        if not shown:
            return f"likely to use {titles[place]}, as most do"
        near = shown[int(np.argmax(self._vectors[shown] @ self._vectors[place]))]
        return f"likely to use {titles[place]}, which reads like {titles[near]}"


def _softmax(scores: Floats) -> Floats:
    shares = np.exp(scores - scores.max())
    return np.asarray(shares / shares.sum(), np.float32)
