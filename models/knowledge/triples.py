"""Triples: what the catalogue says of its items, and what RecBole's `.kg` and `.link` files add."""

import re
from collections.abc import Iterator
from pathlib import Path

from feature_repo.catalogue import Catalogue, Items
from models.datasets.dataset import DatasetError
from models.knowledge.graph import Triple, item_node

_YEAR = re.compile(r"\b(19[0-9]{2}|20[0-9]{2})\b")
_WORD = re.compile(r"[A-Za-z][A-Za-z'&-]+")
_BRAND_ITEMS = 3
_LINK = ("item_id:token", "entity_id:token")
_TRIPLE = ("head_id:token", "relation_id:token", "tail_id:token")


def catalogue_triples(catalogue: Catalogue, items: Items) -> Iterator[Triple]:
    """Item–category, item–decade, item–brand and item–series triples, from categories, text and title.

    A brand is a first word, with a capital, that several titles share beside their differing rest; a decade
    that of the first year that text or title names.
    """
    first = [_opening(title) for title in items.titles]
    shared = {word for word in first if word and first.count(word) >= _BRAND_ITEMS}
    for place, item_id in enumerate(items.ids):
        node = item_node(item_id)
        for category in items.categories[place]:
            yield Triple(node, "category", f"category:{catalogue.categories[category]}")
        year = _YEAR.search(f"{items.titles[place]} {items.texts[place]}")
        if year:
            yield Triple(node, "decade", f"decade:{year[1][:3]}0s")
        if first[place] in shared:
            yield Triple(node, "brand", f"brand:{first[place]}")


def read_triples(link: Path, kg: Path) -> list[Triple]:
    """The triples of RecBole's `.kg` file, the entities that its `.link` file ties to items as those items.

    Raises:
        DatasetError: a file is missing, or its header or a line is not of the format.

    Format: https://recbole.io/docs/user_guide/data/atomic_files.html.
    """
    items = {entity: item_node(item_id) for item_id, entity in _rows(link, _LINK)}
    return [
        Triple(items.get(head, f"entity:{head}"), relation, items.get(tail, f"entity:{tail}"))
        for head, relation, tail in _rows(kg, _TRIPLE)
    ]


def _rows(path: Path, header: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    if not lines or tuple(lines[0].split("\t")) != header:
        raise DatasetError(f"{path} line 1: expected the header {' '.join(header)}, separated by tabs")
    for number, line in enumerate(lines[1:], 2):
        row = tuple(line.split("\t"))
        if len(row) != len(header) or not all(row):
            raise DatasetError(f"{path} line {number}: expected {len(header)} values, separated by tabs")
        yield row


def _opening(title: str) -> str:
    """The first word of a title of several, if it has a capital."""
    words = _WORD.findall(title)
    return words[0] if len(words) > 1 and words[0][0].isupper() and len(words[0]) > 3 else ""
