"""The exam: what a teacher's lessons are worth on held-out users, whom it never saw, by its own ranking."""

from collections.abc import Mapping, Sequence

import numpy as np

from models.evaluation.ranking import ndcg, recall
from models.schema import Floats
from models.teachers.cases import COUNTS, cut
from models.teachers.port import Case, Teacher
from models.training.histories import Doubles

Grades = Mapping[tuple[str, int], Doubles]
"""By metric and count: one value a user, the same users in the same order for every count."""


def examine(
    teacher: Teacher,
    logs: Sequence[Case],
    item_ids: Sequence[str],
    popularity: Floats,
    counts: Sequence[int] = COUNTS,
) -> dict[str, Grades]:
    """NDCG@10 and Recall@20 of the teacher's soft labels, and of popularity on the same users.

    Users with no more than `max(counts)` events are left out; relevant is what they used later and had not
    before. A case that came to no valid lesson is graded 0.

    Args:
        logs: whole logs of held-out users.
        popularity: [I] events of training users.
    """
    logs = [log for log in logs if log.count > max(counts)]
    popular = [item_ids[place] for place in np.argsort(-popularity, kind="stable")]
    teachers: dict[tuple[str, int], Doubles] = {}
    rivals: dict[tuple[str, int], Doubles] = {}
    for count in counts:
        cases = [cut(log, count) for log in logs]
        lessons = {lesson.user_id: lesson.items for lesson in teacher.teach(cases)}
        seen = [{event.item_id for event in case.events} for case in cases]
        later = [
            {event.item_id for event in log.events[count:]} - known
            for log, known in zip(logs, seen, strict=True)
        ]
        lists = [lessons.get(case.user_id, ()) for case in cases]
        common = [[item for item in popular[: 20 + count] if item not in known] for known in seen]
        for grades, ranked in ((teachers, lists), (rivals, common)):
            pairs = list(zip(ranked, later, strict=True))
            grades["ndcg@10", count] = np.array([ndcg(mine, wanted, 10) for mine, wanted in pairs])
            grades["recall@20", count] = np.array([recall(mine, wanted, 20) for mine, wanted in pairs])
    return {f"teacher:{teacher.name}": teachers, "popularity": rivals}
