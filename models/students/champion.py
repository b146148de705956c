"""Where the student is the best rung: proven beside the segment prior, and not behind the generator."""

from collections.abc import Mapping

import msgspec
import numpy as np
import torch

from models.bundle import STUDENT
from models.calibration import Calibration
from models.evaluation.bootstrap import mean_interval
from models.evaluation.ranking import score_table
from models.generators.rung import Rung
from models.training.examples import Batch
from models.training.generator import Task, fill_of
from models.training.ground import Ground
from models.training.histories import Doubles

_NEAR = 1


def crown(
    ground: Ground, rungs: Mapping[str, Rung], tasks: Mapping[str, Task], calibration: Calibration
) -> Calibration:
    """The calibration, with the student as the best rung after every count of events where it is.

    On validation users' NDCG@10 under the frozen ranker, pooled over neighbouring counts: the lower end of
    its paired 95% interval over the segment prior is above 0, and its mean is no less than that of the rung
    that would answer otherwise.
    """
    worth = [
        {name: _worth(ground, rungs[name], tasks[name], count) for name in rungs}
        for count in range(len(calibration.rungs))
    ]
    best = []
    for count, champion in enumerate(calibration.rungs):
        near = worth[max(0, count - _NEAR) : count + _NEAR + 1]
        # A user counts once, with the mean over those neighbouring counts that they have events for.
        known = ~np.isnan([table[STUDENT] for table in near]).all(axis=0)
        if not known.any():
            best.append(champion)
            continue
        student, prior, rival = (
            np.nanmean([table[name][known] for table in near], axis=0)
            for name in (STUDENT, "segment_prior", champion)
        )
        proven = mean_interval(student - prior).low > 0
        best.append(STUDENT if proven and student.mean() >= rival.mean() else champion)
    return msgspec.structs.replace(calibration, rungs=best)


def _worth(ground: Ground, rung: Rung, task: Task, count: int) -> Doubles:
    """[U] NDCG@10 of validation users, NaN for those with no more than `count` events."""
    histories, users = ground.examples.histories, ground.validation
    values = np.full(len(users), np.nan)
    known = histories.counts[users] > count
    if known.any():
        batch: Batch = ground.examples.batch(histories.first(users[known], count))
        with torch.no_grad():
            scores = task.scores(batch, task.blend(batch, fill_of(rung, batch)[:2])).numpy()
        table = score_table(scores, batch["seen"].numpy() > 0, batch["later"].numpy() > 0)
        values[known] = table["ndcg@10"]
    return values
