"""Item descriptions enriched from text: what an item is, and what its reviewers say of it, in a line."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from feature_repo.catalogue import Catalogue, Items
from models.datasets.topics import words
from models.knowledge.sentiment import aspects, polarity
from models.schema import Indices

_TERMS = 8
_REVIEWS = 10
_CLEAR = 0.1


def enrich(
    catalogue: Catalogue,
    items: Items,
    reviews: Mapping[str, Sequence[str]],
    reviewed: Indices | None = None,
) -> Items:
    """The items with a description in the place of their text: title, categories, telling words, aspects.

    Telling words are those that an item's texts say more often than all items' do. Aspects are those that
    its reviews find good or bad on average. An item without reviews is described by its own text.

    Args:
        reviews: item id → texts, of which the first few count; give only those from before a cutoff.
        reviewed: positions of the items to describe, all unless given.
    """
    sources = [
        [items.texts[place], *list(reviews.get(item_id, ()))[:_REVIEWS]]
        for place, item_id in enumerate(items.ids)
    ]
    bags = [Counter(word for text in texts for word in words(text)) for texts in sources]
    spread = Counter(word for bag in bags for word in bag)
    texts = list(items.texts)
    for place in range(len(items)) if reviewed is None else reviewed.tolist():
        told = bags[place]
        weight = {word: (1 + np.log(n)) * np.log(len(bags) / spread[word]) for word, n in told.items()}
        # Of a word that one item alone uses nobody else's description can profit.
        telling = sorted((w for w in weight if spread[w] > 1), key=lambda word: (-weight[word], word))[
            :_TERMS
        ]
        names = [catalogue.categories[category] for category in items.categories[place]]
        parts = [items.titles[place], ", ".join(names), ", ".join(telling), *_felt(sources[place][1:])]
        texts[place] = ". ".join(part for part in parts if part)
    return Items(items.ids, items.titles, texts, items.categories)


def _felt(reviews: Sequence[str]) -> list[str]:
    """What the reviews find good and bad, and how they sound on the whole."""
    values: dict[str, list[float]] = {}
    for review in reviews:
        for aspect, value in aspects(review).items():
            values.setdefault(aspect, []).append(value)
    means = {aspect: float(np.mean(felt)) for aspect, felt in values.items()}
    good = [aspect for aspect, mean in means.items() if mean > _CLEAR]
    bad = [aspect for aspect, mean in means.items() if mean < -_CLEAR]
    sounds = float(np.mean([polarity(review) for review in reviews])) if reviews else 0.0
    said = [f"good {', '.join(good)}"] if good else []
    said += [f"poor {', '.join(bad)}"] if bad else []
    return [*said, "well liked" if sounds > _CLEAR else "disliked"] if abs(sounds) > _CLEAR else said
