"""The item sink: where popularities are kept. A port, Feast behind it, and one in memory."""

from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any, NamedTuple, Protocol

from feast import FeatureStore

from feature_repo.catalogue import Catalogue
from streaming import item_row
from streaming.errors import LayoutError
from streaming.popularity import UNUSED, Popularity
from streaming.progress import MemoryProgress, Progress, StoredProgress
from streaming.stores.port import Write

_CHUNK = 1_000  # as in `sink`: SQLite's limit of parameters, and short answers for a reader
# The item side is stored at its own pace: its positions are others than the users' of the same source.
_ITEM_SIDE = 1 << 48


class ItemChange(NamedTuple):
    """An item's popularity as it was read and as it is to be."""

    before: Popularity
    after: Popularity


class ItemSink(Progress, Protocol):
    """Reads and writes popularities by item, and remembers how far the stream is counted into them."""

    def read(self, items: Collection[str]) -> dict[str, Popularity]:
        """The popularity of each of `items`, an empty one for an item never used.

        Raises:
            SinkError: the store cannot be read.
        """

    def write(self, changes: Mapping[str, ItemChange]) -> set[str]:
        """Replace the rows that are still what they were; the items whose row was another by then.

        Raises:
            SinkError: the store cannot be written; rows may have been in part.
        """


class MemoryItems(MemoryProgress):
    """Popularities in a dictionary: for tests, and for folding a history without a store."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, Popularity] = {}

    def read(self, items: Collection[str]) -> dict[str, Popularity]:
        """See `ItemSink.read`."""
        return {item: self.rows.get(item, UNUSED) for item in items}

    def write(self, changes: Mapping[str, ItemChange]) -> set[str]:
        """See `ItemSink.write`."""
        rejected = set()
        for item, (before, after) in changes.items():
            stored = self.rows.get(item, UNUSED)
            if (stored.sources, stored.offsets) == (before.sources, before.offsets):
                self.rows[item] = after
            else:
                rejected.add(item)
        return rejected


class GuardedItems(StoredProgress):
    """Popularities in Feast's online store, by way of its guarded writes.

    Raises:
        LayoutError: the applied store's writes are not guarded, or its item view is of another version.
    """

    def __init__(self, store: FeatureStore, catalogue: Catalogue) -> None:
        online: Any = store.provider.online_store
        super().__init__(store.config, online, _ITEM_SIDE)
        self._half_life_days = catalogue.half_life_days
        self._view = store.get_feature_view(item_row.VIEW)
        missing = set(item_row.FEATURES) - {field.name for field in self._view.features}
        if missing or not hasattr(online, "write_guarded"):
            lacking = (
                f"{item_row.VIEW} has no {', '.join(sorted(missing))}"
                if missing
                else "writes are not guarded"
            )
            place = f"the {self._config.online_store.type} online store"
            raise LayoutError(f"{place}: {lacking}; run `kindling apply` to bring it up to date")

    def read(self, items: Collection[str]) -> dict[str, Popularity]:
        """See `ItemSink.read`."""
        found: dict[str, Popularity] = {}
        remaining = iter(items)
        while chunk := list(islice(remaining, _CHUNK)):
            keys = [item_row.entity_key(item) for item in chunk]
            columns = [(self._view, list(item_row.FEATURES))]
            rows = self._call("read from", self._online.read_raw, self._config, columns, keys)
            found.update(zip(chunk, map(item_row.read, rows), strict=True))
        return found

    def write(self, changes: Mapping[str, ItemChange]) -> set[str]:
        """See `ItemSink.write`."""
        items = list(changes)
        writes = [
            Write(
                item_row.entity_key(item),
                item_row.guard(before),
                item_row.values(after, self._half_life_days),
                item_row.written_at_ns(after),
            )
            for item, (before, after) in changes.items()
        ]
        features = list(item_row.FEATURES)
        rejected = self._call(
            "write to", self._online.write_guarded, self._config, self._view, features, writes
        )
        return {items[index] for index in rejected}
