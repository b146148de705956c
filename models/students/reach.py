"""Reach: how far a student goes beyond its prior, by how many events are known."""

import numpy as np
import torch

from models.students.student import Student
from models.training.calibrate import fit_ranking_kappa
from models.training.fusion import MOST_USERS, fit_gate, try_mixtures
from models.training.ground import Ground


def fit_reach(ground: Ground, student: Student) -> dict[str, float]:
    """Set the student's reach as serves validation users best, and return the κ that it is blended by.

    At each anchor it is the student's part in a mixture with its prior, chosen as the gate of a fusion is:
    what few users taught goes too far, and after many events may take away more than it adds.
    """
    student.reach.fill_(1.0)
    kappa = fit_ranking_kappa(ground.task({}), student, ground.batches)
    members = {"segment_prior": (student.prior, kappa), "student": (student, kappa)}
    tried = try_mixtures(ground, members, ground.validation[:MOST_USERS])
    parts = np.asarray(fit_gate(tried)[:, 1], np.float32)
    student.reach.copy_(torch.as_tensor(parts))
    return fit_ranking_kappa(ground.task({}), student, ground.batches)
