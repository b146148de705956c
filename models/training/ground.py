"""The ground every generator stands on: examples, the frozen ranker, the priors, and what a fill is for."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch

from models.generators.prior import Prior, fit_priors
from models.generators.rung import Rung
from models.recommenders.features import unit_values
from models.recommenders.two_tower import Committee
from models.schema import Floats, Indices, TensorSchema
from models.training.calibrate import fit_ranking_kappa
from models.training.examples import Batch, Examples
from models.training.generator import VALIDATION_COUNTS, Task
from models.training.histories import Doubles, Histories
from models.training.item_vectors import fit_item_vectors, fit_sharpness
from models.training.recommender import Stranger, train_committee
from models.training.regime import Regime
from models.training.split import Split
from models.training.start import aligned

RIDGES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_EVIDENCE = 10.0
# Enough users to fit one number on, few enough for any catalogue.
_SHARPNESS_USERS, _SHARPNESS_CELLS = 2000, 20_000_000
# Where each user's scores are many, fewer users are to choose by.
_SOME_USERS = 200


class Progress(NamedTuple):
    """Where a training is: a step's name, and for models in training the epoch and validation loss."""

    step: str
    epoch: int = 0
    loss: float = float("nan")


Watch = Callable[[Progress], None]


def unwatched(progress: Progress) -> None:
    """Watches nothing."""


@dataclass(frozen=True)
class Ground:
    """What is fitted before any generator.

    Attributes:
        split: who trains and who chooses; held-out users appear in nothing below.
        examples: histories before the split's cutoff, under the schema, with the fitted item vectors.
        ranker: frozen.
        popularity: [I] events of training users.
        profiles: [train, C + D] full profiles of the training users.
        global_prior, segment_prior: what is expected of anyone, and of anyone with these attributes.
        kappa: per prior, the weights of its best blend with what was observed.
        spread: [C + D] variances, the units in which profiles are compared.
        sharpness: see `Rung`.
        validation: users to choose and calibrate by: all of the split's, or, in a large catalogue, some.
        batches: those users cut to each of `VALIDATION_COUNTS`.
        content: [I, any] content vectors of the items, for other grounds of the same items.
        regime: how what stands on this ground is trained.
        strangers: the training users in parts, each with a member of the ranker that was not trained on
            them; none if all members were trained on everyone.
    """

    split: Split
    examples: Examples
    ranker: Committee
    popularity: Floats
    profiles: Doubles
    global_prior: Prior
    segment_prior: Prior
    kappa: dict[str, dict[str, float]]
    spread: torch.Tensor
    sharpness: float
    validation: Indices
    batches: list[Batch]
    content: Floats
    regime: Regime = field(default_factory=Regime)
    strangers: list[Stranger] = field(default_factory=list)

    @property
    def schema(self) -> TensorSchema:
        """Names, types and widths of all tensors."""
        return self.examples.schema

    @property
    def shrinkage(self) -> Task:
        """Blending as the segment prior is best blended: where learned generators start from."""
        return self.task(self.kappa["segment_prior"])

    @property
    def honest(self) -> list[tuple[Indices, Task]]:
        """The training users in parts, each with `shrinkage` by a ranker that was not trained on them."""
        kappa = self.kappa["segment_prior"]
        return [(users, Task(ranker, kappa, self.spread)) for users, ranker in self.strangers]

    def task(self, kappa: dict[str, float]) -> Task:
        """What a fill that is blended by `kappa` is for."""
        return Task(self.ranker, kappa, self.spread)

    def rung(self, filler: torch.nn.Module) -> Rung:
        """What gets exported of `filler`, in evaluation mode."""
        vectors, length = self.examples.item_vectors, self.schema.virtual_length
        return Rung(filler, vectors, self.popularity, self.sharpness, length).eval()


def lay_ground(
    schema: TensorSchema,
    histories: Histories,
    split: Split,
    content: Floats,
    item_shares: Floats,
    seed: int,
    rankers: int,
    watch: Watch = unwatched,
    regime: Regime | None = None,
) -> Ground:
    """Fit on what warm users did before the cutoff.

    Args:
        content: [I, any] content vectors of the items.
        item_shares: [I, C] categories of the items.
        rankers: two-towers whose mean is the ranker.
        regime: how learned models are trained; as usual if not given.

    Raises:
        TrainingError: too few users or events.
    """
    regime = regime or Regime()
    past = histories.before(split.cutoff_ms)
    fitting = past.after(split.train, 0)
    popularity = np.bincount(past.items[fitting.events], minlength=schema.item_count).astype(np.float32)
    vectors = fit_item_vectors(past, split.train, content, schema.catalogue.embedding_width, seed)
    if regime.start is not None:
        vectors = aligned(vectors, regime.start, regime.start.rows_of(regime.item_ids))
    examples = replace(
        examples_of(past, split.train, schema, item_shares, vectors),
        dense_items=regime.options.dense_items,
        sampled_items=regime.options.sampled_items,
    )
    validation = split.validation
    if examples.sampled:
        validation = validation[:_SOME_USERS]

    def on_epoch(epoch: int, loss: float) -> None:
        watch(Progress("ranker", epoch, loss))

    ranker, strangers = train_committee(
        examples, split.train, validation, popularity, seed, rankers, on_epoch=on_epoch, regime=regime
    )
    watch(Progress("priors"))
    categories = item_shares.shape[1]
    profiles = examples.full_profiles(split.train)
    counts = past.counts[split.train]
    global_prior, segment_prior = fit_priors(
        profiles, past.attributes[split.train], counts / (counts + _EVIDENCE), categories, RIDGES
    )
    spread = block_spread(profiles, categories)
    chosen = validation[past.counts[validation] > 1]
    batches = [examples.sampled_batch(past.first(chosen, count)) for count in VALIDATION_COUNTS]
    task = Task(ranker, {}, spread)
    enough = min(_SHARPNESS_USERS, max(_SHARPNESS_CELLS // schema.item_count, 1))
    some = np.random.default_rng(seed).permutation(len(split.train))[:enough]
    return Ground(
        split=split,
        examples=examples,
        ranker=ranker,
        popularity=popularity,
        profiles=profiles,
        global_prior=global_prior,
        segment_prior=segment_prior,
        kappa={
            "segment_prior": fit_ranking_kappa(task, segment_prior, batches),
            "global_prior": fit_ranking_kappa(task, global_prior, batches),
        },
        spread=spread,
        sharpness=fit_sharpness(
            profiles[some, categories:].astype(np.float32),
            examples.uses(past.after(split.train[some], 0)),
            vectors,
            popularity,
        ),
        validation=validation,
        batches=batches,
        content=content,
        regime=regime,
        strangers=strangers,
    )


def examples_of(
    histories: Histories, train: Indices, schema: TensorSchema, item_shares: Floats, vectors: Floats
) -> Examples:
    """Examples of `histories`; the value assumed of users who gave none is the mean of `train`."""
    unassuming = Examples(histories, schema, item_shares, vectors, 0.5)
    values = unit_values(histories.mean_values(histories.after(train, 0)), schema)
    known = values[~np.isnan(values)]
    return replace(unassuming, assumed_value=float(known.mean())) if len(known) else unassuming


def block_spread(profiles: Doubles, categories: int) -> torch.Tensor:
    """[C + D] mean variance of a dimension, by block: rare categories count as common ones do."""
    variance = profiles.var(axis=0)
    blocks = (variance[:categories], variance[categories:])
    spread = np.concatenate([np.full(len(block), max(block.mean(), 1e-12)) for block in blocks])
    return torch.as_tensor(spread, dtype=torch.float32)
