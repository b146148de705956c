"""The ways to fill that are compared: none, means, shrinkage, neighbours, generators, fusion, oracle."""

from collections.abc import Mapping

import numpy as np
import torch

from models.generators.neighbours import Neighbours
from models.generators.rung import Rung
from models.recommenders.port import Shown
from models.schema import Floats, Indices
from models.training.calibrate import UNBLENDED, fit_ranking_kappa
from models.training.examples import Batch
from models.training.fusion import fit_fusion
from models.training.generators import Member, train_members
from models.training.ground import Ground, Progress, Watch

POPULAR = "popular_padding"
_INPUTS = ("affinity", "history_items", "history_weights", "attributes", "count")


class Fills:
    """Presents users by any fill, by name.

    `none` shows what was observed. `global_mean` and `segment_mean` replace it, `count_shrinkage` is the
    blend with the segment's mean by the fitted κ, `blank` that with no embedding. Generators are blended
    by their own κ. `fusion` falls back to count-shrinkage after as many events as it is not proven for.
    `oracle` shows the whole history's profile, later events included: a bound. `popular_padding` is
    `none` with the most popular items as virtual ones, the rival of all virtual items.
    """

    def __init__(self, ground: Ground, members: Mapping[str, Member], fused: Mapping[str, Member]) -> None:
        fusion, self.proven = fit_fusion(ground, fused)
        priors = {"segment_prior", "blank"}
        neighbours = Neighbours(
            ground.segment_prior,
            ground.examples.item_vectors,
            ground.profiles,
            ground.examples.histories.attributes[ground.split.train],
        )
        near = fit_ranking_kappa(ground.task({}), neighbours, ground.batches)
        self.fusion = fusion
        self._members: dict[str, Member] = {
            "global_mean": (ground.global_prior, UNBLENDED),
            "segment_mean": (ground.segment_prior, UNBLENDED),
            "count_shrinkage": members["segment_prior"],
            "blank": members["blank"],
            "knn": (neighbours, near),
            **{name: member for name, member in members.items() if name not in priors},
            "fusion": (fusion, fusion.kappa()),
        }
        self._rungs: dict[str, Rung] = {n: ground.rung(f) for n, (f, _) in self._members.items()}
        self._ground = ground
        self.names = ("none", POPULAR, *self._members, "oracle")

    @property
    def kappa(self) -> dict[str, float]:
        """By which the fusion is blended."""
        return self.fusion.kappa()

    def show(self, name: str, batch: Batch) -> Shown:
        """Users of one count, as the fill `name` presents them."""
        observed = (batch["affinity"], batch["observed_embedding"])
        if name == "none":
            size = len(batch["count"])
            return _shown(batch, observed, np.zeros((size, 0), np.int64), np.zeros((size, 0), np.float32))
        if name == POPULAR:
            return _shown(batch, observed, *self._likeliest(batch, 0.0))
        if name == "oracle":
            categories = batch["affinity"].shape[1]
            full = batch["full"]
            vectors = torch.as_tensor(self._ground.examples.item_vectors)
            virtual = self._likeliest(batch, full[:, categories:] @ vectors.T)
            return _shown(batch, (full[:, :categories], full[:, categories:]), *virtual)
        if name == "fusion" and not self.proves(int(batch["count"][0])):
            name = "count_shrinkage"
        _, kappa = self._members[name]
        with torch.no_grad():
            shares, embedding, items, weights = self._rungs[name](*(batch[key] for key in _INPUTS))
            profile = self._ground.task(kappa).blend(batch, (shares, embedding))
        return _shown(batch, profile, items.numpy(), weights.numpy())

    def proves(self, count: int) -> bool:
        """Whether the fusion answers after `count` events."""
        return self.proven[min(count, len(self.proven) - 1)]

    def _likeliest(self, batch: Batch, match: torch.Tensor | float) -> tuple[Indices, Floats]:
        """[B, M] unseen items by log popularity and match, and their weights."""
        ground = self._ground
        scores = torch.log(torch.as_tensor(ground.popularity) + 1) + ground.sharpness * match
        best, items = torch.topk(scores - 1e9 * batch["seen"], ground.schema.virtual_length, dim=1)
        return items.numpy(), torch.softmax(best, dim=1).numpy()


def fit_fills(
    ground: Ground, fused: tuple[str, ...], others: tuple[str, ...], seed: int, encoders: int, watch: Watch
) -> Fills:
    """Train everything that is compared; only `fused` generators become part of the fusion."""
    beside = set(others) - set(fused)
    members = train_members(ground, dict.fromkeys([*fused, *others]), seed, encoders, watch)
    watch(Progress("fusion"))
    return Fills(ground, members, {name: m for name, m in members.items() if name not in beside})


def _shown(
    batch: Batch,
    profile: tuple[torch.Tensor, torch.Tensor],
    items: Indices,
    weights: Floats,
) -> Shown:
    affinity, embedding = (part.numpy().astype(np.float32) for part in profile)
    return Shown(batch, affinity, embedding, items.astype(np.int64), weights.astype(np.float32))
