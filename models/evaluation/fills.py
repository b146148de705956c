"""The ways to fill that are compared: none, means, shrinkage, neighbours, generators, fusion, oracle."""

from collections.abc import Callable, Mapping

import numpy as np
import torch

from models.evaluation.schooling import Schooling
from models.generators.anchors import ANCHORS
from models.generators.fusion import Fusion
from models.generators.neighbours import Neighbours
from models.generators.rung import Rung
from models.recommenders.port import Shown
from models.schema import Floats, Indices
from models.training.calibrate import UNBLENDED, fit_ranking_kappa
from models.training.crossfit import try_members
from models.training.examples import Batch
from models.training.fusion import (
    MOST_USERS,
    admit,
    by_count,
    fit_fusion,
    fit_gate,
    prove,
    try_mixtures,
)
from models.training.generators import PRIORS, Member, train_members
from models.training.ground import Ground, Progress, Watch

POPULAR = "popular_padding"
WITH_STUDENT = "fusion+student"
"""A name, or the start of the names of other ways to weigh the two."""

THIRD = 1 / 3
"""Of a mixture, what the student has where nothing is fitted."""

RIVAL = "kshot_linear"
"""The generator that a fusion has to be as good as, whether or not it fuses it."""
_INPUTS = ("affinity", "history_items", "history_weights", "attributes", "count")


School = Callable[[Member], Schooling]
"""What comes of a teacher and of a student, whom a filler guides."""


class Fills:
    """Presents users by any fill, by name.

    `none` shows what was observed. `global_mean` and `segment_mean` replace it, `count_shrinkage` is the
    blend with the segment's mean by the fitted κ, `blank` that with no embedding. Generators are blended
    by their own κ. `fusion` falls back to count-shrinkage after as many events as it is not proven for.
    `oracle` shows the whole history's profile, later events included: a bound. `popular_padding` is
    `none` with the most popular items as virtual ones, the rival of all virtual items. Where there was a
    schooling, its teacher and student are fills too, and so are mixtures of fusion and student, which
    answer where the fusion does, or where they are proven:

    - `fusion+student` is weighed by validation users, who must prove the student before any event;
    - `fusion+student:fitted` need not prove it;
    - `fusion+student:three` shares out the weight among the two and the segment prior, and need not either;
    - `fusion+student:third` is the same mixture everywhere.
    """

    def __init__(
        self,
        ground: Ground,
        members: Mapping[str, Member],
        fused: tuple[Fusion, list[bool]],
        schooling: Schooling | None = None,
    ) -> None:
        fusion, proven = fused
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
            **{name: member for name, member in members.items() if name not in PRIORS},
            "fusion": (fusion, fusion.kappa()),
        }
        self._proven = {"fusion": proven}
        self._schooling = schooling
        if schooling is not None:
            self._members[schooling.student] = schooling.member
            self._join(ground, schooling.student)
        self._rungs: dict[str, Rung] = {n: ground.rung(f) for n, (f, _) in self._members.items()}
        self._ground = ground
        taught = () if schooling is None else (schooling.teacher,)
        self.names = ("none", POPULAR, *self._members, *taught, "oracle")

    def _join(self, ground: Ground, student: str) -> None:
        """Mix fusion and student in several ways."""
        users = ground.validation[:MOST_USERS]
        two = {name: self._members[name] for name in ("fusion", student)}
        three = {"segment_prior": self._members["count_shrinkage"], **two}
        pairs, triples = (try_mixtures(ground, members, users) for members in (two, three))
        gates = {
            WITH_STUDENT: admit(pairs, newcomer=1),
            f"{WITH_STUDENT}:fitted": fit_gate(pairs),
            f"{WITH_STUDENT}:three": fit_gate(triples),
            f"{WITH_STUDENT}:third": np.tile([1 - THIRD, THIRD], (len(ANCHORS), 1)),
        }
        proven = by_count(prove(triples, rival=0))
        for name, gate in gates.items():
            fillers, kappas = zip(*(two if gate.shape[1] == 2 else three).values(), strict=True)
            joined = Fusion(fillers, kappas, gate, ground.examples.item_vectors).eval()
            self._members[name] = (joined, joined.kappa())
            self._proven[name] = [any(e) for e in zip(proven, self._proven["fusion"], strict=True)]

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
        if self._schooling is not None and name == self._schooling.teacher:
            fill, virtual = self._schooling.taught(batch)
            return _shown(batch, self._ground.task(self._schooling.kappa).blend(batch, fill), *virtual)
        if name in self._proven and not self._proves(name, int(batch["count"][0])):
            name = "count_shrinkage"
        _, kappa = self._members[name]
        with torch.no_grad():
            shares, embedding, items, weights = self._rungs[name](*(batch[key] for key in _INPUTS))
            profile = self._ground.task(kappa).blend(batch, (shares, embedding))
        return _shown(batch, profile, items.numpy(), weights.numpy())

    def _proves(self, fusion: str, count: int) -> bool:
        """Whether a fusion answers after `count` events."""
        proven = self._proven[fusion]
        return proven[min(count, len(proven) - 1)]

    def _likeliest(self, batch: Batch, match: torch.Tensor | float) -> tuple[Indices, Floats]:
        """[B, M] unseen items by log popularity and match, and their weights."""
        ground = self._ground
        scores = torch.log(torch.as_tensor(ground.popularity) + 1) + ground.sharpness * match
        best, items = torch.topk(scores - 1e9 * batch["seen"], ground.schema.virtual_length, dim=1)
        return items.numpy(), torch.softmax(best, dim=1).numpy()


def fit_fills(
    ground: Ground,
    fused: tuple[str, ...],
    others: tuple[str, ...],
    seed: int,
    encoders: int,
    watch: Watch,
    school: School | None = None,
) -> Fills:
    """Train everything that is compared; only `fused` generators become part of the fusion.

    Args:
        school: trains a teacher, and a student whom the fusion guides.
    """
    trained = dict.fromkeys([*fused, RIVAL, *others])
    members = train_members(ground, trained, seed, encoders, watch)
    watch(Progress("fusion"))
    whole = {name: member for name, member in members.items() if name in {*PRIORS, *fused}}
    fusion, proven = fit_fusion(ground, whole, try_members(ground, whole, seed, watch))
    schooling = None if school is None else school((fusion, fusion.kappa()))
    return Fills(ground, members, (fusion, proven), schooling)


def _shown(
    batch: Batch,
    profile: tuple[torch.Tensor, torch.Tensor],
    items: Indices,
    weights: Floats,
) -> Shown:
    affinity, embedding = (part.numpy().astype(np.float32) for part in profile)
    return Shown(batch, affinity, embedding, items.astype(np.int64), weights.astype(np.float32))
