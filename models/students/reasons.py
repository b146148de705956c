"""Reasons: which kinds of evidence a teacher's rationale gives, foretold by its student."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from models.bundle import REASON_CODES
from models.schema import Floats
from models.students.student import Student

_STEPS = 200


class Reasons(nn.Module):
    """How likely the teacher would give each of `REASON_CODES`, from a student's hidden state.

    Source of the idea: C. Hsieh et al., "Distilling Step-by-Step!", Findings of ACL 2023.
    """

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student
        self.readout = nn.Linear(student.size.width, len(REASON_CODES))

    def forward(
        self,
        affinity: torch.Tensor,
        history_items: torch.Tensor,
        history_weights: torch.Tensor,
        attributes: torch.Tensor,
        count: torch.Tensor,
    ) -> torch.Tensor:
        """[B, 4] in 0..1."""
        hidden = self.student.hidden(affinity, history_items, history_weights, attributes, count)
        return torch.sigmoid(self.readout(hidden))


def fit_reasons(
    student: Student, inputs: Sequence[torch.Tensor], codes: Floats, weights: Floats
) -> Reasons:
    """A readout of a student that is not changed, by logistic regression.

    Args:
        inputs: the schema's, [N, ...], one row a lesson.
        codes: [N, 4] of each lesson's rationale.
        weights: [N] how far each lesson is trusted.
    """
    model = Reasons(student).eval()
    with torch.no_grad():
        hidden = student.hidden(*inputs)
        share = np.clip(np.average(codes, axis=0, weights=weights), 0.01, 0.99)
        model.readout.weight.zero_()
        model.readout.bias.copy_(torch.as_tensor(np.log(share / (1 - share)), dtype=torch.float32))
    targets, trust = torch.as_tensor(codes), torch.as_tensor(weights / weights.mean())[:, None]
    optimizer = torch.optim.AdamW(model.readout.parameters(), lr=1e-2, weight_decay=1e-2)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        scores = model.readout(hidden)
        loss = nn.functional.binary_cross_entropy_with_logits(scores, targets, trust.expand_as(targets))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.requires_grad_(False)
