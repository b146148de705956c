"""What a student makes small: its distance to later events, to soft labels, and to a teacher's answers."""

import torch
from torch import nn

from models.training.examples import Batch, ranking_loss, top_loss
from models.training.generator import RANKING_WEIGHT, TOP_WEIGHT, Fill, Task

_FADING = 2.0
_PROFILE, _KNOWN_PROFILE, _KNOWN = 0.03, 0.5, 3.0


def faded(count: torch.Tensor) -> torch.Tensor:
    """[B] what a ranking counts after so many events [B, 1], in 0..1.

    Where little is known, the list is all there is to learn. Where more is, the observed says most of it,
    and a ranking is learned by heart sooner than from it: the profile itself is the better lesson.
    """
    return (_FADING / (count + _FADING))[:, 0]


def truth_loss(task: Task, batch: Batch, fill: Fill) -> torch.Tensor:
    """How badly the ranker foresees from the blended answer, and how far that is from the full profile."""
    scores, stress = task.scores(batch, task.blend(batch, fill)), faded(batch["count"])
    ranking = ranking_loss(scores, batch, stress) + TOP_WEIGHT * top_loss(scores, batch, stress)
    known = batch["count"][:, 0] / (batch["count"][:, 0] + _KNOWN)
    wrong = profile_loss(torch.cat(task.blend(batch, fill), dim=1), batch["full"], task.spread)
    return RANKING_WEIGHT * ranking + ((_PROFILE + _KNOWN_PROFILE * known) * wrong).mean()


def profile_loss(profile: torch.Tensor, expected: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
    """[B] mean squared error of profiles [B, C + D], in units of variances [C + D]."""
    error: torch.Tensor = ((profile - expected) ** 2 / spread).mean(dim=1)
    return error


def soft_label_loss(
    scores: torch.Tensor, items: torch.Tensor, labels: torch.Tensor, temperature: float
) -> torch.Tensor:
    """[B] temperature-scaled Kullback-Leibler divergence of the student's scores from soft labels.

    Both sides are flattened by the temperature τ, labels as p^(1/τ), among the labelled items; times τ²,
    so that the gradient does not fade with it.

    Source: G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015.

    Args:
        scores: [B, I], very small for items that cannot be had.
        items: [B, M] positions of the labelled items.
        labels: [B, M] rows summing to 1, 0 where there are fewer.
    """
    flat = labels.clamp(min=0) ** (1 / temperature) * (labels > 0)
    flat = flat / flat.sum(dim=1, keepdim=True).clamp(min=1e-9)
    # Labels end somewhere: what lies beyond is unknown, not unlikely, and is left out on both sides.
    named = (scores.gather(1, items) / temperature).masked_fill(labels <= 0, -torch.inf)
    logs = torch.log_softmax(named, dim=1).masked_fill(labels <= 0, 0.0)
    entropy = torch.special.xlogy(flat, flat).sum(dim=1)
    divergence: torch.Tensor = entropy - (flat * logs).sum(dim=1)
    return temperature**2 * divergence


def share_loss(shares: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """[B] Kullback-Leibler divergence of shares [B, C] from those expected."""
    logs = torch.log(shares.clamp(min=1e-9))
    divergence: torch.Tensor = (torch.special.xlogy(expected, expected) - expected * logs).sum(dim=1)
    return divergence


class HiddenLoss(nn.Module):
    """How far a student's hidden state is from its teacher's.

    Where the widths agree the states themselves are compared, each normalised; where they do not, the
    direction of a learned projection of the student's.

    Source: A. Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015.

    Args:
        width: of the student's states.
        taught: of the teacher's.
    """

    def __init__(self, width: int, taught: int) -> None:
        super().__init__()
        self.direct = width == taught
        self.projection = nn.Identity() if self.direct else nn.Linear(width, taught)

    def forward(self, hidden: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
        """[B] for states [B, d] and [B, W]; 0 where the teacher has none."""
        known = (taught != 0).any(dim=1)
        if self.direct:
            ours, theirs = (nn.functional.layer_norm(state, state.shape[1:]) for state in (hidden, taught))
            return ((ours - theirs) ** 2).mean(dim=1) * known
        likeness = nn.functional.cosine_similarity(self.projection(hidden), taught, dim=1)
        return (1 - likeness) * known
