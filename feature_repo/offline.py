"""Offline rows: the shape of a view's part files, and how one is written."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureView
from feast.types import from_feast_to_pyarrow_type

from feature_repo.workspace import Workspace

_TIME = pa.timestamp("us", tz="UTC")


def part_schema(view: FeatureView) -> pa.Schema:
    """Columns of `view`'s part files: join keys, its features, when it was true and when it was written."""
    keys = [pa.field(column.name, pa.string()) for column in view.entity_columns]
    features = [pa.field(field.name, from_feast_to_pyarrow_type(field.dtype)) for field in view.features]
    times = [pa.field("event_timestamp", _TIME), pa.field("created_timestamp", _TIME)]
    return pa.schema([*keys, *features, *times])


def write_part(folder: Path, name: str, rows: pa.Table) -> Path:
    """Write `rows` as part file `name`: whole or not at all, and durable once it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    path, partial = folder / f"{name}.parquet", folder / f".{name}.partial"
    pq.write_table(rows, partial)
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    return path


def seed_parts(workspace: Workspace, view: FeatureView) -> None:
    """Give `view` an empty part file: a query over no file at all is an error, over no rows an answer."""
    folder = workspace.offline / view.name
    if not (folder / "empty.parquet").exists():
        write_part(folder, "empty", part_schema(view).empty_table())
