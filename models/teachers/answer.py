"""The answer of a language model: its JSON schema, and the lesson that a valid one makes."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from feature_repo.catalogue import Catalogue, Items
from models.schema import Floats
from models.teachers.port import Case, Lesson, soft_labels

MOST_CATEGORIES = 6
MOST_KINDS = 4
MOST_CANDIDATES = 10
LONGEST_KIND = 40
LONGEST_RATIONALE = 160

_CHOSEN_MASS = 0.5
"""Of the soft labels, what the candidates chosen share; the rest goes by category and popularity."""

_EVERY_CATEGORY = 0.02
"""Weight of a category that was not named: an answer names few."""


class CategoryWeight(msgspec.Struct, frozen=True):
    """A category by name, and how much of it, 1 to 10."""

    category: str
    weight: int


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the schema admits; `candidates` are numbers from 1."""

    affinities: list[CategoryWeight]
    liked: list[str]
    disliked: list[str]
    queries: list[str]
    candidates: list[int]
    rationale: str
    confidence: int


def answer_schema(categories: Sequence[str], candidates: int) -> dict[str, Any]:
    """JSON schema of an `Answer` about so many candidates; fields come in order, strings on one line."""

    def lines(longest: int) -> dict[str, Any]:
        return {"type": "string", "pattern": rf'^[^"\\\x00-\x1f]{{1,{longest}}}$'}

    def several(of: dict[str, Any], least: int, most: int) -> dict[str, Any]:
        return {"type": "array", "items": of, "minItems": least, "maxItems": most}

    weighed = {
        "type": "object",
        "properties": {
            "category": {"enum": list(categories)},
            "weight": {"type": "integer", "minimum": 1, "maximum": 10},
        },
        "required": ["category", "weight"],
        "additionalProperties": False,
    }
    number = {"type": "integer", "minimum": 1, "maximum": max(candidates, 1)}
    properties = {
        "affinities": several(weighed, 1, MOST_CATEGORIES),
        "liked": several(lines(LONGEST_KIND), 0, MOST_KINDS),
        "disliked": several(lines(LONGEST_KIND), 0, MOST_KINDS),
        "queries": several(lines(LONGEST_KIND), 0, MOST_KINDS),
        "candidates": several(number, 0, MOST_CANDIDATES if candidates else 0),
        "rationale": lines(LONGEST_RATIONALE),
        "confidence": {"type": "integer", "minimum": 0, "maximum": 100},
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def parse(text: str, categories: Sequence[str], candidates: int) -> Answer:
    """The answer that `text` is.

    Raises:
        ValueError: it is not JSON of the schema; the message says where.
    """
    answer = msgspec.json.decode(text.encode(), type=Answer)
    if not answer.affinities:
        raise ValueError("no category is named")
    for named in answer.affinities:
        if named.category not in categories or not 1 <= named.weight <= 10:
            raise ValueError(f"{named} is no category of the catalogue with a weight of 1 to 10")
    if not all(1 <= number <= candidates for number in answer.candidates):
        raise ValueError(f"candidates {answer.candidates} are not all from 1 to {candidates}")
    if not 0 <= answer.confidence <= 100:
        raise ValueError(f"confidence {answer.confidence} is not from 0 to 100")
    return answer


def lesson_of(
    answer: Answer,
    case: Case,
    candidates: Sequence[int],
    catalogue: Catalogue,
    items: Items,
    item_shares: Floats,
    popularity: Floats,
) -> Lesson:
    """The lesson that an answer makes.

    Half of the soft labels go to the candidates chosen, by reciprocal rank, half to all unseen items by
    popularity and the categories named.

    Args:
        candidates: positions of the items that were on offer.
        item_shares: [I, C] categories of the items.
        popularity: [I] events of training users.
    """
    affinity = np.full(len(catalogue.categories), _EVERY_CATEGORY)
    for named in answer.affinities:
        affinity[catalogue.categories.index(named.category)] += named.weight
    affinity /= affinity.sum()
    shown = [items.index[event.item_id] for event in case.events if event.item_id in items.index]
    spread = (item_shares @ affinity + 1e-6) * np.sqrt(popularity + 1.0)
    spread[shown] = 0
    labels = spread / max(spread.sum(), 1e-12)
    chosen = [candidates[number - 1] for number in dict.fromkeys(answer.candidates)]
    if chosen:
        ranks = 1 / np.arange(1, len(chosen) + 1)
        labels *= 1 - _CHOSEN_MASS
        labels[chosen] += _CHOSEN_MASS * ranks / ranks.sum()
    ids, weights = soft_labels(labels.astype(np.float32), items.ids)
    return Lesson(
        user_id=case.user_id,
        count=case.count,
        items=ids,
        item_weights=weights,
        affinity=tuple(affinity.tolist()),
        confidence=answer.confidence / 100,
        rationale=answer.rationale.strip(),
        liked=tuple(answer.liked),
        disliked=tuple(answer.disliked),
        queries=tuple(answer.queries),
    )
