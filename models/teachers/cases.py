"""Cases out of a data set: its users, each with the first events they left."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models.datasets.dataset import EVENTS_FILE, USERS_FILE
from models.knowledge.sentiment import polarity
from models.teachers.port import Case, CaseEvent

COUNTS = (0, 1, 2, 3, 5, 10)
"""How many events are shown, by default."""


def load_logs(folder: Path, user_ids: Iterable[str], before_ms: int | None = None) -> list[Case]:
    """All that each user did, before `before_ms` where given, as one case each, in the order named.

    Users of whom nothing is known are left out.
    """
    wanted = list(dict.fromkeys(user_ids))
    events = pq.read_table(folder / EVENTS_FILE)
    chosen = pc.is_in(events["user_id"], value_set=pa.array(wanted, pa.string()))
    if before_ms is not None:
        limit = pa.scalar(before_ms, pa.timestamp("ms", tz="UTC"))
        chosen = pc.and_(chosen, pc.less(events["event_time"], limit))
    events = events.filter(chosen).sort_by([("event_time", "ascending"), ("event_id", "ascending")])
    of_user: dict[str, list[CaseEvent]] = {}
    columns = (events[name].to_pylist() for name in ("user_id", "item_id", "type", "value", "text"))
    for user_id, item_id, kind, value, text in zip(*columns, strict=True):
        sentiment = polarity(text) if text else None
        of_user.setdefault(user_id, []).append(CaseEvent(item_id, kind, value, text, sentiment))
    declared = {row.pop("user_id"): row for row in pq.read_table(folder / USERS_FILE).to_pylist()}
    return [
        Case(user_id, declared.get(user_id, {}), tuple(of_user.get(user_id, ())))
        for user_id in wanted
        if user_id in of_user or user_id in declared
    ]


def cut(log: Case, count: int) -> Case:
    """What was known of a user after their first `count` events."""
    return Case(log.user_id, log.attributes, log.events[:count])


def cut_all(logs: Sequence[Case], counts: Iterable[int] = COUNTS) -> list[Case]:
    """Each log cut to each of `counts`, where one event at least remains to be foreseen."""
    return [cut(log, count) for log in logs for count in counts if log.count > count]
