"""Profile → why it was filled as it was: each piece of evidence is taken away in turn, all in one batch.

What an answer owes to an event is the difference to the answer without it, by the same rung of the same
bundle (leave-one-out). So it needs no gradients, and holds for any rung.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from feature_repo.catalogue import Items
from models.schema import BLOCKS, HISTORY_LENGTH, SparseProfile
from service.call import Call, Options
from service.fill.blocks import NO_ITEM, Answer
from service.fill.ladder import OBSERVED

Vector = npt.NDArray[np.float64]

MOST_ROWS = 64
_NOTHING = 1e-6


class Filler(Protocol):
    """What fills profiles: the augmenter."""

    def inline(self, profiles: Sequence[SparseProfile], options: Options, call: Call) -> Answer:
        """One row for each profile, by one model."""
        ...


class Evidence(NamedTuple):
    """One thing that was observed: a declared attribute, or an event.

    Attributes:
        attribute: its name; empty for an event.
        position: of the event, 0 for the newest.
    """

    attribute: str = ""
    position: int = -1


@dataclass(frozen=True)
class Movement:
    """What one piece of evidence did to one block.

    Attributes:
        moved: how far; half the sum of absolute differences, for the embedding the distance.
        share: of what all evidence moved.
        target: the category or item that it moved most; empty for the embedding.
        present: that value as it is.
        absent: as it would have been.
        rung_absent: the rung that would have answered.
    """

    evidence: Evidence
    moved: float
    share: float
    target: str
    present: float
    absent: float
    rung_absent: str


@dataclass(frozen=True)
class Explanation:
    """Row 0 of `answer` is the profile's; `movements` by block, those that moved it most first."""

    answer: Answer
    movements: Mapping[str, Sequence[Movement]]


class Explainer:
    """Explains how profiles are filled.

    Args:
        filler: what is explained.
        items: the catalogue's items.
        categories: their names, in order.
    """

    def __init__(self, filler: Filler, items: Items, categories: Sequence[str]) -> None:
        self._filler, self._items, self._categories = filler, items, categories

    def explain(
        self, profile: SparseProfile, cold_below: int, allowed: frozenset[str], call: Call
    ) -> Explanation:
        """Which evidence moved which filled value.

        Args:
            cold_below: users with as many events need no fill, with or without one of these.
            allowed: rungs that may answer; empty means all.
        """
        evidence = evidence_of(profile)
        least = cold_below if profile.event_count >= cold_below else 0
        without = [self._without(profile, piece, least) for piece in evidence]
        answer = self._filler.inline([profile, *without], Options(allowed, dry_run=True), call)
        rung = answer.decisions[0].rung
        if rung != OBSERVED and any(decision.rung != rung for decision in answer.decisions):
            # With an event less another rung may be the better one, which says nothing of that event.
            pinned = Options(frozenset({rung}), dry_run=True)
            answer = self._filler.inline([profile, *without], pinned, call)
        return Explanation(answer, {block: self._movements(block, answer, evidence) for block in BLOCKS})

    def _without(self, profile: SparseProfile, evidence: Evidence, least: int) -> SparseProfile:
        """`profile`, had this never been observed."""
        if evidence.attribute:
            kept = {name: value for name, value in profile.attributes.items() if name != evidence.attribute}
            return replace(profile, attributes=kept)
        at, affinity = evidence.position, np.asarray(profile.affinity, np.float64).copy()
        index = self._items.index.get(profile.items[at])
        categories = list(self._items.categories[index]) if index is not None else []
        if categories:
            affinity[categories] -= profile.weights[at] / len(categories)
        return replace(
            profile,
            event_count=max(profile.event_count - 1, least),
            affinity=np.maximum(affinity, 0).tolist(),
            items=[*profile.items[:at], *profile.items[at + 1 :]],
            weights=[*profile.weights[:at], *profile.weights[at + 1 :]],
        )

    def _movements(self, block: str, answer: Answer, evidence: Sequence[Evidence]) -> list[Movement]:
        present = self._values(block, answer, 0)
        found = []
        for row, piece in enumerate(evidence, start=1):
            absent = self._values(block, answer, row)
            names = list(dict.fromkeys([*present, *absent]))
            before = np.array([absent.get(name, 0.0) for name in names])
            after = np.array([present.get(name, 0.0) for name in names])
            moved = _distance(block, before, after)
            if moved <= _NOTHING:
                continue
            most = int(np.abs(after - before).argmax())
            named = (names[most], after[most], before[most]) if block != "embedding" else ("", 0.0, 0.0)
            found.append((piece, moved, named, answer.decisions[row].rung))
        total = sum(moved for _, moved, _, _ in found)
        movements = [
            Movement(piece, moved, moved / total, target, float(after), float(before), rung)
            for piece, moved, (target, after, before), rung in found
        ]
        return sorted(movements, key=lambda movement: -movement.moved)

    def _values(self, block: str, answer: Answer, row: int) -> dict[str, float]:
        """The block's values by name, for one row."""
        if block == "virtual_items":
            items, weights = answer.virtual_items[row].tolist(), answer.virtual_weights[row].tolist()
            named = zip(items, weights, strict=True)
            return {answer.bundle.item_ids[item]: weight for item, weight in named if item != NO_ITEM}
        values = (answer.affinity if block == "affinity" else answer.embedding)[row].tolist()
        names = self._categories if block == "affinity" else map(str, range(len(values)))
        return dict(zip(names, values, strict=True))


def evidence_of(profile: SparseProfile) -> list[Evidence]:
    """What can be taken away: the newest events that models see, and what was declared."""
    events = [Evidence(position=at) for at in range(min(len(profile.items), HISTORY_LENGTH))]
    declared = [
        Evidence(attribute=name) for name, value in profile.attributes.items() if value not in (None, "")
    ]
    return [*events, *declared][: MOST_ROWS - 1]


def _distance(block: str, before: Vector, after: Vector) -> float:
    difference = after - before
    if block == "embedding":
        return float(np.linalg.norm(difference))
    return float(np.abs(difference).sum() / 2)
