"""Item side: the rows of `item_content` and `item_activity`, from the catalogue and the event log."""

from datetime import UTC, datetime

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from feast import FeatureStore

from feature_repo.catalogue import Catalogue, Items
from feature_repo.event_log import folder, has_events
from feature_repo.offline import part_schema, write_part
from feature_repo.workspace import Workspace

_POPULARITY = """
    SELECT item_id,
           count(*) AS item_event_count,
           sum(pow(2.0, -epoch_ms(newest - event_time) / 86400000.0 / $half_life_days)) AS popularity
    FROM (SELECT item_id, event_time, max(event_time) OVER () AS newest FROM read_parquet($log))
    WHERE item_id IS NOT NULL
    GROUP BY item_id
"""


def write_content(
    workspace: Workspace,
    store: FeatureStore,
    items: Items,
    catalogue: Catalogue,
    vectors: npt.NDArray[np.float32],
) -> int:
    """Write what the catalogue says of every item; returns how many.

    Args:
        vectors: [I, D] content embeddings in catalogue order.
    """
    columns = {
        "item_id": items.ids,
        "title": items.titles,
        "categories": [[catalogue.categories[index] for index in indices] for indices in items.categories],
        "text": items.texts,
        "content_embedding": list(vectors),
    }
    return _write(workspace, store, "item_content", pa.table(columns))


def write_activity(workspace: Workspace, store: FeatureStore, catalogue: Catalogue) -> int:
    """Write how much every item of the offline event log was used, decayed to its newest event.

    Returns:
        How many items had events; 0 where nothing was logged yet.
    """
    if not has_events(workspace):
        return 0
    parameters = {"log": str(folder(workspace) / "*.parquet"), "half_life_days": catalogue.half_life_days}
    with duckdb.connect() as connection:
        rows = connection.execute(_POPULARITY, parameters).arrow()
    table = rows if isinstance(rows, pa.Table) else rows.read_all()
    return _write(workspace, store, "item_activity", table)


def _write(workspace: Workspace, store: FeatureStore, view: str, rows: pa.Table) -> int:
    """One part file a run, named by its time: the newest row of an item is the one that is materialized."""
    now = datetime.now(UTC)
    for column in ("event_timestamp", "created_timestamp"):
        rows = rows.append_column(column, pa.array([now] * rows.num_rows, pa.timestamp("us", tz="UTC")))
    schema = part_schema(store.get_feature_view(view))
    write_part(workspace.offline / view, f"{now:%Y%m%dT%H%M%S%f}", rows.select(schema.names).cast(schema))
    return len(rows)
