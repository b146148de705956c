"""Content vectors: what an item's words and categories say of it, so that a new item has a place."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from feature_repo.catalogue import Catalogue, Items
from models.low_rank import SparseMatrix, truncated_svd
from models.schema import Floats

_WORD = re.compile(r"\w{2,}")
_MAX_WORDS = 20_000


def content_vectors(catalogue: Catalogue, items: Items, width: int | None = None) -> Floats:
    """[I, width] unit vectors: TF-IDF of title, text and categories, reduced by truncated SVD.

    Items that share words or categories lie close. `width` is the catalogue's embedding width unless
    given; an item without any known term is the zero vector.
    """
    bags = [_terms(catalogue, items, position) for position in range(len(items))]
    return _reduced(bags, width or catalogue.embedding_width)


def word_vectors(texts: Sequence[str], width: int) -> Floats:
    """[N, width] unit vectors of texts by their words alone: those that share words lie close."""
    return _reduced([Counter(_WORD.findall(text.lower())) for text in texts], width)


def _reduced(bags: list[Counter[str]], width: int) -> Floats:
    spread = Counter(term for bag in bags for term in bag)
    # A term of one item says nothing about another; ties are broken by name to be reproducible.
    common = sorted((t for t in spread if spread[t] > 1), key=lambda t: (-spread[t], t))[:_MAX_WORDS]
    column = {term: index for index, term in enumerate(common)}
    places = [
        (row, column[term], (1 + np.log(count)) * np.log(len(bags) / spread[term]))
        for row, bag in enumerate(bags)
        for term, count in bag.items()
        if term in column
    ]
    vectors = np.zeros((len(bags), width), np.float32)
    if places:
        rows, columns, values = (np.array(part) for part in zip(*places, strict=True))
        norms = np.sqrt(np.bincount(rows, values**2, len(bags)))
        values = values / np.maximum(norms, 1e-12)[rows]
        left, singular, _ = truncated_svd(
            SparseMatrix(rows, columns, values, (len(bags), len(common))), width
        )
        reduced = left * singular
        lengths = np.linalg.norm(reduced, axis=1, keepdims=True)
        vectors[:, : reduced.shape[1]] = reduced / np.where(lengths > 1e-9, lengths, 1)
    return vectors


def _terms(catalogue: Catalogue, items: Items, position: int) -> Counter[str]:
    words = _WORD.findall(f"{items.titles[position]} {items.texts[position]}".lower())
    # A category is a term of its own, whatever words its name is made of.
    return Counter([*words, *(f"#{catalogue.categories[index]}" for index in items.categories[position])])
