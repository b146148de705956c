"""The frozen two-tower behind the port that evaluation ranks through."""

import torch

from models.recommenders.port import Shown
from models.recommenders.two_tower import Committee
from models.schema import Floats
from models.training.generator import Task


class Tower:
    """Ranks by affinity and embedding; of virtual items it knows nothing."""

    def __init__(self, ranker: Committee, spread: torch.Tensor) -> None:
        self._task = Task(ranker, {}, spread)

    def scores(self, shown: Shown, mass: float) -> Floats:
        """[B, I]."""
        with torch.no_grad():
            profile = (torch.as_tensor(shown.affinity), torch.as_tensor(shown.embedding))
            scores: Floats = self._task.scores(shown.batch, profile).numpy()
        return scores
