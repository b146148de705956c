"""Item side: the rows of `item_content` and `item_activity`, from the catalogue and the event log."""

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from feast import FeatureStore

from feature_repo.catalogue import Catalogue, Items
from feature_repo.event_log import events_in, has_events
from feature_repo.offline import part_schema, write_part
from feature_repo.windows import DAY_MS
from feature_repo.workspace import Workspace

# As the stream folds them: an event that is much older than its user's newest by then does not count.
_POPULARITY = """
    WITH arrived AS (
        SELECT item_id, source, "offset", epoch_ms(event_time) AS ms,
               max(epoch_ms(event_time)) OVER (
                   PARTITION BY user_id ORDER BY source, "offset"
                   ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
               ) AS newest
        FROM events WHERE item_id IS NOT NULL
    ), timely AS (
        SELECT *, max(ms) OVER (PARTITION BY item_id, source) AS last_ms
        FROM arrived WHERE coalesce(ms >= newest - $lateness_ms, true)
    ), buckets AS (
        SELECT item_id, source, max("offset") AS upto, count(*) AS uses, max(last_ms) AS last_ms,
               sum(pow(2.0, (ms - last_ms) / $half_life_ms)) AS mass
        FROM timely GROUP BY item_id, source
    ), totals AS (
        SELECT *, max(last_ms) OVER (PARTITION BY item_id) AS item_last_event_ms FROM buckets
    )
    SELECT item_id, item_last_event_ms, sum(uses) AS item_event_count,
           sum(mass * pow(2.0, (last_ms - item_last_event_ms) / $half_life_ms)) AS popularity,
           list(source ORDER BY source) AS source_partitions,
           list(upto ORDER BY source) AS source_offsets,
           list(uses ORDER BY source) AS source_counts,
           list(mass ORDER BY source) AS source_masses,
           list(last_ms ORDER BY source) AS source_last_ms
    FROM totals GROUP BY item_id, item_last_event_ms
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
    """Write how much every item of the offline event log was used: the stream's rows, from its log.

    Returns:
        How many items had events; 0 where nothing was logged yet.
    """
    if not has_events(workspace):
        return 0
    parameters = {
        "half_life_ms": catalogue.half_life_days * DAY_MS,
        "lateness_ms": catalogue.lateness_days * DAY_MS,
    }
    columns = ["user_id", "item_id", "event_time", "source", '"offset"']
    with events_in(workspace, columns) as connection:
        rows = connection.execute(_POPULARITY, parameters).fetch_arrow_table()
    return _write(workspace, store, "item_activity", rows)


def _write(workspace: Workspace, store: FeatureStore, view: str, rows: pa.Table) -> int:
    """One part file a run, named by its time: the newest row of an item is the one that is materialized."""
    now = datetime.now(UTC)
    for column in ("event_timestamp", "created_timestamp"):
        rows = rows.append_column(column, pa.array([now] * rows.num_rows, pa.timestamp("us", tz="UTC")))
    schema = part_schema(store.get_feature_view(view))
    write_part(workspace.offline / view, f"{now:%Y%m%dT%H%M%S%f}", rows.select(schema.names).cast(schema))
    return len(rows)
