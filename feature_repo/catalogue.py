"""The catalogue: what the shop sells and what it may know of a user, as data.

Everything that has a width or a vocabulary in Kindling takes it from here: the
feature views at apply time, the fold, the tensor schema of the models. The same
code serves a film site and a shop; only `catalogue.json` and `items.parquet` differ.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

CATALOGUE_FILE = "catalogue.json"
ITEMS_FILE = "items.parquet"

ITEM_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("title", pa.string()),
        ("categories", pa.list_(pa.string())),
        ("text", pa.string()),
    ]
)


class CatalogueError(ValueError):
    """The catalogue is missing or malformed; the message names the file, the field and the fix."""


class Attribute(msgspec.Struct, frozen=True):
    """One declared attribute of a user, and how models see it: a one-hot of `width` slots.

    A `category` has one slot per known value, a `number` one per bucket between `edges`.
    Unknown and missing values light no slot, so a prior falls back to the global mean.
    """

    name: str
    kind: Literal["category", "number"]
    values: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """Number of one-hot slots."""
        return len(self.values) if self.kind == "category" else len(self.edges) + 1

    def slot(self, value: str | float | None) -> int | None:
        """The slot that `value` lights, or None where it is missing or unknown."""
        if value is None or value == "":
            return None
        if self.kind == "category":
            text = str(value)
            return self.values.index(text) if text in self.values else None
        try:
            number = float(value)
        except ValueError:
            return None
        return None if math.isnan(number) else bisect_right(self.edges, number)


class Catalogue(msgspec.Struct, frozen=True):
    """Vocabularies and vector widths.

    Attributes:
        name: the data set's name, shown in reports.
        categories: the item categories; width C of every affinity vector.
        attributes: the declared attributes of a user.
        event_types: the types of event that carry preference, with the weight of each.
        value_range: lowest and highest `value` of an event (a rating scale), if events have values.
        half_life_days: after how many days an event counts half in a decayed affinity.
        lateness_days: an event older than its user's newest by more is not folded, only logged.
        recent_length: how many of the last events a profile keeps (N).
        embedding_width: width D of item and user embeddings.
        virtual_length: how many virtual interactions a filled profile holds (M).
    """

    name: str
    categories: tuple[str, ...]
    attributes: tuple[Attribute, ...] = ()
    event_types: dict[str, float] = msgspec.field(default_factory=lambda: {"view": 1.0})
    value_range: tuple[float, float] | None = None
    half_life_days: float = 180.0
    lateness_days: float = 90.0
    recent_length: int = 50
    embedding_width: int = 64
    virtual_length: int = 50

    @property
    def attribute_width(self) -> int:
        """Number of one-hot slots of all attributes together (A)."""
        return sum(attribute.width for attribute in self.attributes)

    def attribute_slots(self, declared: Mapping[str, str | float | None]) -> list[int]:
        """The lit positions, in 0..A-1, of a user's one-hot attribute vector."""
        lit, offset = [], 0
        for attribute in self.attributes:
            slot = attribute.slot(declared.get(attribute.name))
            if slot is not None:
                lit.append(offset + slot)
            offset += attribute.width
        return lit

    def event_weight(self, event_type: str, value: float | None) -> float:
        """How much one event says about taste: the weight of its type, halved for the lowest value.

        A disliked film was still chosen, so a low rating keeps half the evidence of a high one.
        """
        weight = self.event_types.get(event_type, 1.0)
        if value is None or self.value_range is None:
            return weight
        low, high = self.value_range
        liking = (min(max(value, low), high) - low) / (high - low)
        return weight * (0.5 + 0.5 * liking)

    def save(self, folder: Path) -> None:
        """Write `catalogue.json` into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CATALOGUE_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))


@dataclass(frozen=True)
class Items:
    """The items on offer, in catalogue order: the position of an item is its index in every model."""

    ids: list[str]
    titles: list[str]
    texts: list[str]
    categories: list[tuple[int, ...]]

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def index(self) -> dict[str, int]:
        """Item id → position."""
        return {item_id: position for position, item_id in enumerate(self.ids)}


def load_catalogue(folder: Path) -> Catalogue:
    """Read `catalogue.json`.

    Raises:
        CatalogueError: it is missing, or a field of it is.
    """
    path = folder / CATALOGUE_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Catalogue)
    except FileNotFoundError:
        raise CatalogueError(
            f"{path} does not exist: run `kindling data load PATH` or `kindling data simulate` first"
        ) from None
    except msgspec.MsgspecError as error:
        raise CatalogueError(
            f"{path}: {error}; load the data again with `kindling data load PATH`"
        ) from error


def load_items(folder: Path, catalogue: Catalogue) -> Items:
    """Read `items.parquet`, categories as positions in `catalogue.categories`.

    Raises:
        CatalogueError: the file is missing, or an item names a category the catalogue does not.
    """
    path = folder / ITEMS_FILE
    if not path.exists():
        raise CatalogueError(f"{path} does not exist: load data first with `kindling data load PATH`")
    table = pq.read_table(path, schema=ITEM_SCHEMA).to_pydict()
    position = {category: index for index, category in enumerate(catalogue.categories)}
    try:
        categories = [tuple(position[name] for name in names) for names in table["categories"]]
    except KeyError as error:
        raise CatalogueError(
            f"{path}: category {error} is not in {CATALOGUE_FILE}; load the data again"
        ) from None
    return Items(table["item_id"], table["title"], table["text"], categories)
