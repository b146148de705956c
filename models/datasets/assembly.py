"""The common second half of every loader: rows in, checked one by one, a data set out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.catalogue import ITEM_SCHEMA, Attribute, Catalogue
from models.datasets import topics, vocabulary
from models.datasets.dataset import (
    EVENT_SCHEMA,
    Dataset,
    DatasetError,
    Quarantined,
    event_id,
    user_schema,
)
from models.datasets.intake import BadRowError
from models.datasets.vocabulary import Kind, UnsuitableError


class Item(NamedTuple):
    """An item as its source describes it; no categories where the source has none."""

    title: str
    categories: Sequence[str] = ()
    text: str = ""


@dataclass
class EventColumns:
    """Events column by column, in any order; a value or a text is None where there is none."""

    users: list[str] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)


class Assembly:
    """Takes users, items and events as they are read, refuses what does not fit with `BadRowError`.

    Where the source describes items (`items_known`), an event of any other item is refused; where it
    does not, the events say which items there are. Users need no description: an event is enough.
    """

    def __init__(self, event_type: str, columns: Mapping[str, Kind], items_known: bool) -> None:
        self.items: dict[str, Item] = {}
        self._columns = columns
        self._items_known = items_known
        self._event_type = event_type
        self._declared: dict[str, Sequence[str | None]] = {}
        # Ids repeat in event after event: one string for all of them, or a million rows fill the memory.
        self._users: dict[str, str] = {}
        self._item_ids: dict[str, str] = {}
        self._event_ids: dict[str, None] = {}
        self._events = EventColumns()

    @property
    def event_items(self) -> list[str]:
        """The ids of the items that occur in events, in order of first occurrence."""
        return list(self._item_ids)

    def add_item(self, item_id: str, item: Item) -> None:
        """Describe an item; `BadRowError` if its id is missing or it is described already."""
        if not item_id:
            raise BadRowError("item_id is missing")
        if item_id in self.items:
            raise BadRowError("duplicate item")
        self.items[item_id] = item

    def add_user(self, user_id: str, values: Sequence[str]) -> None:
        """Declare a user's value for each column, "" where missing; `BadRowError` as for items."""
        if not user_id:
            raise BadRowError("user_id is missing")
        if user_id in self._declared:
            raise BadRowError("duplicate user")
        self._declared[user_id] = [value or None for value in values]

    def add_event(
        self, user_id: str, item_id: str, time_ms: int, value: float | None = None, text: str | None = None
    ) -> None:
        """Note an event; `BadRowError` if an id is missing, the item unknown, or the event noted before."""
        if not user_id:
            raise BadRowError("user_id is missing")
        if not item_id:
            raise BadRowError("item_id is missing")
        if self._items_known and item_id not in self.items:
            raise BadRowError("unknown item")
        identity = event_id(user_id, item_id, time_ms, self._event_type)
        if identity in self._event_ids:
            raise BadRowError("duplicate event")
        self._event_ids[identity] = None
        self._events.users.append(self._users.setdefault(user_id, user_id))
        self._events.items.append(self._item_ids.setdefault(item_id, item_id))
        self._events.values.append(value)
        self._events.texts.append(text or None)
        self._events.times_ms.append(time_ms)

    def finish(
        self,
        source: Path,
        name: str,
        quarantined: Sequence[Quarantined],
        scale: tuple[float, float] | None = None,
    ) -> Dataset:
        """The data set named `name`; `scale` is the known lowest and highest value, else the data tells.

        Raises:
            DatasetError: not one event could be used.
        """
        if not self._event_ids:
            raise DatasetError(f"{source} has no usable event: {_example(quarantined)}")
        attributes, skipped = self._attributes()
        items = self._item_table()
        names = vocabulary.categories(items["categories"])
        catalogue = Catalogue(
            name=name,
            categories=names,
            attributes=attributes,
            event_types={self._event_type: 1.0},
            value_range=self._value_range(scale),
        )
        known = frozenset(names)
        items["categories"] = [vocabulary.within(known, of_item) for of_item in items["categories"]]
        return Dataset(
            catalogue=catalogue,
            items=pa.table(items, schema=ITEM_SCHEMA),
            users=self._user_table(catalogue),
            events=event_table(list(self._event_ids), self._event_type, self._events),
            quarantined=tuple(quarantined),
            skipped=skipped,
        )

    def _attributes(self) -> tuple[tuple[Attribute, ...], dict[str, str]]:
        attributes, skipped = [], {}
        for index, (name, kind) in enumerate(self._columns.items()):
            values = [row[index] for row in self._declared.values()]
            try:
                attributes.append(vocabulary.attribute(name, kind, values, len(self._declared)))
            except UnsuitableError as why:
                skipped[name] = str(why)
        return tuple(attributes), skipped

    def _item_table(self) -> dict[str, list[Any]]:
        items = self.items if self._items_known else {i: self.items.get(i, Item(i)) for i in self._item_ids}
        of_items = [item.categories for item in items.values()]
        if not any(of_items):
            described = topics.derive({i: [item.text] if item.text else [] for i, item in items.items()})
            of_items = list(described.values())
        return {
            "item_id": list(items),
            "title": [item.title or item_id for item_id, item in items.items()],
            "categories": of_items,
            "text": [item.text or item.title for item in items.values()],
        }

    def _user_table(self, catalogue: Catalogue) -> pa.Table:
        undeclared: Sequence[str | None] = [None] * len(self._columns)
        users = list(dict.fromkeys([*self._declared, *self._users]))
        rows = [self._declared.get(user, undeclared) for user in users]
        place = {name: index for index, name in enumerate(self._columns)}
        columns: dict[str, list[Any]] = {"user_id": users}
        for attribute in catalogue.attributes:
            texts = [row[place[attribute.name]] for row in rows]
            columns[attribute.name] = (
                texts if attribute.kind == "category" else [_number(text) for text in texts]
            )
        return pa.table(columns, schema=user_schema(catalogue))

    def _value_range(self, scale: tuple[float, float] | None) -> tuple[float, float] | None:
        values = [value for value in self._events.values if value is not None]
        if not values:
            return None
        low, high = scale or (min(values), max(values))
        return (low, high) if low < high else None


def event_table(event_ids: Sequence[str], event_type: str, events: EventColumns) -> pa.Table:
    """A table of `EVENT_SCHEMA`, sorted by (event_time, event_id)."""
    columns = {
        "event_id": event_ids,
        "user_id": events.users,
        "item_id": events.items,
        "type": [event_type] * len(event_ids),
        "value": events.values,
        "text": events.texts,
        "event_time": pa.array(events.times_ms, pa.timestamp("ms", tz="UTC")),
    }
    table = pa.table(columns, schema=EVENT_SCHEMA)
    order = pc.sort_indices(table, sort_keys=[("event_time", "ascending"), ("event_id", "ascending")])
    return table.take(order)


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _example(quarantined: Sequence[Quarantined]) -> str:
    if not quarantined:
        return "it is empty"
    bad = quarantined[-1]
    return f"{len(quarantined)} bad rows, such as {bad.file} line {bad.line}: {bad.reason}"
