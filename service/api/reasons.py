"""Reason codes in plain words: what the student's teacher leans on, in what this user did."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from feature_repo.catalogue import Items
from models.bundle import LEARNED, REASON_CODES, Bundle
from models.schema import SparseProfile
from service.api.explain import Explanation
from service.fill.blocks import NO_ITEM

LEAST = 0.3
"""Codes less likely than this are not given."""

_OFFERED = 5


@dataclass(frozen=True)
class Reason:
    """One reason.

    Attributes:
        code: of `REASON_CODES`.
        weight: how likely the teacher would give it.
        subject: the attribute's name, or the item that was used.
        target: the item that is offered, empty for attributes and events.
        relation: the category that both items share, of a knowledge edge.
        text: all of this in words.
    """

    code: str
    weight: float
    subject: str
    target: str
    relation: str
    text: str


class Reasoner:
    """Gives reasons, from bundles that hold a student.

    Args:
        items: the catalogue's.
    """

    def __init__(self, items: Items) -> None:
        self._items = items

    def reasons(self, bundle: Bundle, profile: SparseProfile, explanation: Explanation) -> list[Reason]:
        """The likeliest first; none where no learned rung answered, or the bundle has no student."""
        if bundle.reasons is None or explanation.answer.decisions[0].rung not in LEARNED:
            return []
        tensors = bundle.schema.encode([profile], bundle.item_index)
        likely = dict(zip(REASON_CODES, bundle.reasons.run(tensors)["reasons"][0].tolist(), strict=True))
        found = [
            reason for reason in self._given(bundle, profile, explanation, likely) if reason.weight >= LEAST
        ]
        return sorted(found, key=lambda reason: -reason.weight)

    def _given(
        self, bundle: Bundle, profile: SparseProfile, explanation: Explanation, likely: Mapping[str, float]
    ) -> Iterator[Reason]:
        """Each code that this user's evidence bears out."""
        moved = [movement.evidence for movement in explanation.movements["virtual_items"]]
        for evidence in [piece for piece in moved if piece.attribute][:1]:
            value = profile.attributes[evidence.attribute]
            text = f"because {evidence.attribute} is {value}"
            yield Reason("attribute", likely["attribute"], evidence.attribute, "", "", text)
        for evidence in [piece for piece in moved if not piece.attribute][:1]:
            item = profile.items[evidence.position]
            yield Reason("event", likely["event"], item, "", "", f"because of {self._title(item)}")
        offered = [
            bundle.item_ids[item]
            for item in explanation.answer.virtual_items[0][:_OFFERED].tolist()
            if item != NO_ITEM
        ]
        used = [item for item in dict.fromkeys(profile.items) if item in bundle.item_index]
        if not used or not offered:
            return
        target, subject = self._nearest(bundle, offered, used)
        text = f"{self._title(target)} is like {self._title(subject)}"
        yield Reason("similar_item", likely["similar_item"], subject, target, "", text)
        for target, subject, relation in self._edges(bundle, offered, used):
            text = f"{self._title(target)} and {self._title(subject)} are both {relation}"
            yield Reason("knowledge_edge", likely["knowledge_edge"], subject, target, relation, text)
            return

    def _nearest(self, bundle: Bundle, offered: Sequence[str], used: Sequence[str]) -> tuple[str, str]:
        """The offered and the used item that are most alike."""
        ours, theirs = (
            bundle.item_vectors[[bundle.item_index[item] for item in items]] for items in (offered, used)
        )
        lengths = np.linalg.norm(ours, axis=1)[:, None] * np.linalg.norm(theirs, axis=1)[None, :]
        best = int((ours @ theirs.T / np.maximum(lengths, 1e-9)).argmax())
        return offered[best // len(used)], used[best % len(used)]

    def _edges(
        self, bundle: Bundle, offered: Sequence[str], used: Sequence[str]
    ) -> Iterator[tuple[str, str, str]]:
        """Offered and used items that share a category, and which."""
        names = bundle.schema.catalogue.categories
        for target in offered:
            for subject in used:
                shared = set(self._categories_of(target)) & set(self._categories_of(subject))
                if shared:
                    # The rarer a category, the more it says: it is the one with the fewest items.
                    yield target, subject, names[min(shared, key=self._size_of)]

    def _categories_of(self, item_id: str) -> Sequence[int]:
        index = self._items.index.get(item_id)
        return () if index is None else self._items.categories[index]

    def _size_of(self, category: int) -> int:
        return sum(category in categories for categories in self._items.categories)

    def _title(self, item_id: str) -> str:
        index = self._items.index.get(item_id)
        return (self._items.titles[index] if index is not None else "") or item_id
