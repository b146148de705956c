"""One catalogue and one event stream: the shape that every source of data is brought into.

On disk a data set is one folder: `catalogue.json`, `items.parquet`, `users.parquet`, `events.parquet`,
`quarantine.jsonl`, and `truth.npz` where a simulator made it.
"""

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from feature_repo.catalogue import (
    CATALOGUE_FILE,
    ITEM_SCHEMA,
    ITEMS_FILE,
    Catalogue,
    CatalogueError,
    load_catalogue,
)

USERS_FILE = "users.parquet"
EVENTS_FILE = "events.parquet"
QUARANTINE_FILE = "quarantine.jsonl"
TRUTH_FILE = "truth.npz"
FILES = (CATALOGUE_FILE, ITEMS_FILE, USERS_FILE, EVENTS_FILE, QUARANTINE_FILE, TRUTH_FILE)

_EVENT_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("event_id", pa.string()),
    ("user_id", pa.string()),
    ("item_id", pa.string()),
    ("type", pa.string()),
    ("value", pa.float64()),
    ("text", pa.string()),
    ("event_time", pa.timestamp("ms", tz="UTC")),
]
EVENT_SCHEMA = pa.schema(_EVENT_COLUMNS)

_SKIPPED = b"kindling.skipped_attributes"


class DatasetError(ValueError):
    """A data set cannot be read, made or written; the message says what was expected and what was found."""


class Quarantined(msgspec.Struct, frozen=True):
    """A row that was set aside: where it stood, why it was refused, and (the start of) what it said."""

    file: str
    line: int
    reason: str
    row: str


def event_id(user_id: str, item_id: str, time_ms: int, event_type: str) -> str:
    """A digest of what makes an event itself: 20 hex digits.

    Sorting equal times by it is reproducible, yet says nothing about the order of rows in the
    source, which in many data sets is an order by user, item or rating.
    """
    key = f"{user_id}\x1f{item_id}\x1f{time_ms}\x1f{event_type}"
    return blake2b(key.encode(), digest_size=10).hexdigest()


def user_schema(catalogue: Catalogue) -> pa.Schema:
    """`user_id`, then a nullable column for each attribute: string for a category, float64 for a number."""
    schema = pa.schema([("user_id", pa.string())])
    for attribute in catalogue.attributes:
        of_kind = pa.string() if attribute.kind == "category" else pa.float64()
        schema = schema.append(pa.field(attribute.name, of_kind))
    return schema


@dataclass(frozen=True)
class Dataset:
    """A catalogue, its items and users, and what the users did, in order of time.

    Attributes:
        catalogue: the vocabularies.
        items: a table of `ITEM_SCHEMA`, in catalogue order.
        users: a table of `user_schema(catalogue)`, every user of `events` included.
        events: a table of `EVENT_SCHEMA`, sorted by (event_time, event_id).
        quarantined: the rows of the source that were refused.
        skipped: user columns that became no attribute, name → reason.
        truth: what a simulator knows and a model has to find; empty for real data.
    """

    catalogue: Catalogue
    items: pa.Table
    users: pa.Table
    events: pa.Table
    quarantined: tuple[Quarantined, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    truth: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def reasons(self) -> Counter[str]:
        """How many rows were quarantined for each reason."""
        return Counter(row.reason for row in self.quarantined)

    def save(self, folder: Path) -> None:
        """Write the data set as `folder`, whole or not at all, in place of a data set that lies there.

        Raises:
            DatasetError: `folder` is a file, or holds anything that is not part of a data set.
        """
        folder = folder.resolve()
        _refuse_foreign(folder)
        partial, old = (folder.parent / f".{folder.name}.{state}" for state in ("partial", "old"))
        _put_back(old, folder)
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            self._write(partial)
            if folder.exists():
                folder.rename(old)
            partial.rename(folder)
        except OSError as error:
            raise DatasetError(f"{folder} cannot be written: {error}; name another folder") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            _put_back(old, folder)

    def _write(self, folder: Path) -> None:
        self.catalogue.save(folder)
        skipped = {_SKIPPED: json.dumps(dict(self.skipped)).encode()}
        pq.write_table(self.items, folder / ITEMS_FILE)
        pq.write_table(self.users.replace_schema_metadata(skipped), folder / USERS_FILE)
        pq.write_table(self.events, folder / EVENTS_FILE)
        lines = (msgspec.json.encode(row) + b"\n" for row in self.quarantined)
        (folder / QUARANTINE_FILE).write_bytes(b"".join(lines))
        if self.truth:
            np.savez_compressed(folder / TRUTH_FILE, allow_pickle=False, **self.truth)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a saved data set.

        Raises:
            DatasetError: a file is missing or is not what `save` writes.
        """
        try:
            catalogue = load_catalogue(folder)
            users = pq.read_table(folder / USERS_FILE)
            skipped = json.loads((users.schema.metadata or {}).get(_SKIPPED, b"{}"))
            lines = (folder / QUARANTINE_FILE).read_bytes().splitlines()
            truth: dict[str, NDArray[Any]] = {}
            if (folder / TRUTH_FILE).exists():
                with np.load(folder / TRUTH_FILE, allow_pickle=False) as arrays:
                    truth = {name: arrays[name] for name in arrays.files}
            return cls(
                catalogue=catalogue,
                items=pq.read_table(folder / ITEMS_FILE).cast(ITEM_SCHEMA),
                users=users.replace_schema_metadata(None).cast(user_schema(catalogue)),
                events=pq.read_table(folder / EVENTS_FILE).cast(EVENT_SCHEMA),
                quarantined=tuple(msgspec.json.decode(line, type=Quarantined) for line in lines),
                skipped=skipped,
                truth=truth,
            )
        except CatalogueError as error:
            raise DatasetError(str(error)) from error
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise DatasetError(
                f"{folder} is not a whole data set: {error}; load it again with `kindling data load PATH`"
            ) from error


def _put_back(old: Path, folder: Path) -> None:
    """Undo a replacement that was cut short between its two renames; clear up after one that was not."""
    if old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _refuse_foreign(folder: Path) -> None:
    """Saving replaces the folder, so a folder that holds anything else must not be named by mistake."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DatasetError(f"{folder} is a file: name a folder to write the data set to")
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in FILES)
    if foreign:
        raise DatasetError(
            f"{folder} holds {foreign[0]}, which is not part of a data set: name an empty or new folder"
        )
