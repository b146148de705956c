"""Making a behaviour teacher: members trained one by one, then tempered and calibrated on validation."""

from collections.abc import Iterator, Sequence

import numpy as np

from feature_repo.catalogue import Catalogue, Items
from models.calibration import never_falling
from models.schema import Floats
from models.teachers.behaviour import BATCH, Behaviour
from models.teachers.behaviour_model import BehaviourModel
from models.teachers.language import Language, Log
from models.teachers.port import MOST_ITEMS, Case, TeacherError
from models.teachers.pretraining import SCHEDULE, pretrain
from models.training.loop import OnEpoch, Schedule, unwatched

MEMBERS = 2
"""Models whose mean is the teacher: what each made up of few users cancels."""

_MOST_COUNT = 10
_TEMPERATURES = tuple(float(value) for value in np.geomspace(0.4, 3.0, 16))


def fit_behaviour(
    catalogue: Catalogue,
    items: Items,
    content: Floats,
    train: Sequence[Case],
    validation: Sequence[Case],
    seed: int = 0,
    members: int = MEMBERS,
    schedule: Schedule = SCHEDULE,
    on_epoch: OnEpoch = unwatched,
) -> Behaviour:
    """Pre-train a teacher on whole logs of warm users.

    Args:
        content: [I, any] vectors from which the items' embeddings start.
        train: logs to fit on.
        validation: logs of others, to stop and calibrate by.

    Raises:
        TeacherError: no log in one of them has two events.
    """
    language = Language(catalogue, items.ids)
    fitted, held = (
        [language.log(case) for case in cases if case.count > 1] for cases in (train, validation)
    )
    if not fitted or not held:
        raise TeacherError("no training or no validation user has two events: the teacher needs more data")
    popularity = np.bincount(np.concatenate([log.items for log in fitted]), minlength=len(items))
    models = []
    for member in range(members):
        model = BehaviourModel(language, content, popularity.astype(np.float32), seed=seed * 1000 + member)
        pretrain(model, language, fitted, held, seed * 1000 + member, schedule, on_epoch)
        models.append(model.requires_grad_(False))
    likelihood = {
        value: _likelihood(Behaviour(models, language, items, value), held) for value in _TEMPERATURES
    }
    temperature = max(likelihood, key=lambda value: likelihood[value])
    return _calibrated(Behaviour(models, language, items, temperature), held)


def _likelihood(teacher: Behaviour, logs: Sequence[Log]) -> float:
    """Mean log chance of what came later, after no and after three events."""
    values = []
    for count in (0, 3):
        for log, chance in _foreseen(teacher, logs, count):
            later = np.setdiff1d(log.items[count:], log.items[:count])
            values.append(float(np.log(np.maximum(chance[later], 1e-12)).mean()))
    return float(np.mean(values))


def _calibrated(teacher: Behaviour, logs: Sequence[Log]) -> Behaviour:
    """The teacher with the confidence that its soft labels earn after each count of events."""
    earned: list[float] = []
    for count in range(_MOST_COUNT + 1):
        hits = []
        for log, chance in _foreseen(teacher, logs, count):
            best = np.argsort(-chance)[:MOST_ITEMS]
            later = np.isin(best, log.items[count:])
            hits.append(float(chance[best] @ later / chance[best].sum()))
        earned.append(float(np.mean(hits)) if hits else (earned[-1] if earned else 0.0))
    return Behaviour(
        teacher.members, teacher.language, teacher.items, teacher.temperature, never_falling(earned)
    )


def _foreseen(teacher: Behaviour, logs: Sequence[Log], count: int) -> Iterator[tuple[Log, Floats]]:
    """The logs that have something new to foresee after `count` events, and the chances given them then."""
    asked = [log for log in logs if len(np.setdiff1d(log.items[count:], log.items[:count]))]
    for start in range(0, len(asked), BATCH):
        part = asked[start : start + BATCH]
        cut = [Log(log.header, log.items[:count], log.reactions[:count]) for log in part]
        yield from zip(part, teacher.complete(cut)[0], strict=True)
