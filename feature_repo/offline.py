"""Offline rows: the shape of a view's part files, how one is written, and who may change them."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureView
from feast.types import Bytes, FeastType, from_feast_to_pyarrow_type

from feature_repo.workspace import Workspace

_TIME = pa.timestamp("us", tz="UTC")
_LOCK = ".lock"


def part_schema(view: FeatureView) -> pa.Schema:
    """Columns of `view`'s part files: join keys, its features, when it was true and when it was written."""
    keys = [pa.field(column.name, pa.string()) for column in view.entity_columns]
    features = [pa.field(field.name, _arrow_type(field.dtype)) for field in view.features]
    times = [pa.field("event_timestamp", _TIME), pa.field("created_timestamp", _TIME)]
    return pa.schema([*keys, *features, *times])


def _arrow_type(dtype: FeastType) -> pa.DataType:
    """Feast's own table of types knows no bytes, though its stores do."""
    return pa.binary() if dtype == Bytes else from_feast_to_pyarrow_type(dtype)


def write_part(folder: Path, name: str, rows: pa.Table, **options: Any) -> Path:
    """Write `rows` as part file `name`: whole or not at all, and durable when it returns.

    Args:
        options: of `pyarrow.parquet.write_table`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = _write(folder, name, rows, options)
    sync(folder)
    return path


def write_parts(folder: Path, parts: Mapping[str, pa.Table], **options: Any) -> None:
    """Write several part files as `write_part` does, with their waits for the disk overlapped."""
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(len(parts)) as pool:
        for written in [pool.submit(_write, folder, name, rows, options) for name, rows in parts.items()]:
            written.result()
    sync(folder)


def _write(folder: Path, name: str, rows: pa.Table, options: Mapping[str, Any]) -> Path:
    path, partial = folder / f"{name}.parquet", folder / f".{name}.partial"
    pq.write_table(rows, partial, **options)
    sync(partial)
    partial.replace(path)
    return path


def sync(path: Path) -> None:
    """Return once the disk holds a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def hold(workspace: Workspace, *, alone: bool) -> Iterator[None]:
    """Keep part files from being merged, rewritten or removed meanwhile; waits for its turn.

    Adding one needs no hold: readers of the folder take what is there.

    Args:
        alone: to change them oneself; otherwise others may read at the same time.
    """
    workspace.offline.mkdir(parents=True, exist_ok=True)
    with (workspace.offline / _LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def seed_parts(workspace: Workspace, view: FeatureView) -> None:
    """Give `view` an empty part file: a query over no file at all is an error, over no rows an answer."""
    folder = workspace.offline / view.name
    if not (folder / "empty.parquet").exists():
        write_part(folder, "empty", part_schema(view).empty_table())
