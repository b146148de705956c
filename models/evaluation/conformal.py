"""Split-conformal radii: how far from an answer the full profile lies, nine times in ten."""

import numpy as np
import torch

from models.evaluation.bootstrap import Doubles

NOMINAL = 0.9

FEWEST = 9
"""With fewer errors no finite radius holds a new one so often."""


def profile_errors(
    affinity: torch.Tensor, embedding: torch.Tensor, full: torch.Tensor, spread: torch.Tensor
) -> dict[str, Doubles]:
    """[B] root mean square error of each block, in units of the profiles' standard deviation.

    Args:
        full: [B, C + D] profiles of whole histories.
        spread: [C + D] variances.
    """
    categories = affinity.shape[1]
    error = (torch.cat([affinity, embedding], dim=1) - full).double() ** 2 / spread
    blocks = {"affinity": error[:, :categories], "embedding": error[:, categories:]}
    return {name: block.mean(dim=1).sqrt().numpy() for name, block in blocks.items()}


def conformal_radius(errors: Doubles, nominal: float = NOMINAL) -> float:
    """The radius that holds a new user's error with at least `nominal` probability.

    Args:
        errors: [n] of users that nothing was fitted on, exchangeable with new ones.

    Raises:
        ValueError: so few errors that no finite radius holds so often.

    Source: J. Lei et al., "Distribution-Free Predictive Inference for Regression", JASA, 2018.
    """
    rank = int(np.ceil((len(errors) + 1) * nominal))
    if rank > len(errors):
        raise ValueError(f"{len(errors)} errors are too few for {nominal:.0%}: validate on more users")
    return float(np.sort(errors)[rank - 1])
