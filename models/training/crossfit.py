"""Cross-fitting: every warm user judges the fusion's mixtures by members that were trained without them."""

from collections.abc import Iterator, Mapping

import numpy as np

from models.training.fusion import MOST_USERS, Trials, try_mixtures
from models.training.generators import PRIORS, Member, train_members
from models.training.ground import Ground, Progress, Watch, lay_ground
from models.training.regime import Regime
from models.training.split import VALIDATION_SHARE, Split

_FEWEST = 50
"""Users of a part, below which its absence would be felt by what is trained on the others."""


def try_members(ground: Ground, members: Mapping[str, Member], seed: int, watch: Watch) -> Trials:
    """What every mixture of the members is worth: to validation users if they are many, else cross-fitted.

    A seventh of the warm users is too few to tell mixtures apart that differ by a hundredth. So they are
    dealt to parts, and for each the same generators are trained anew, on a ground of their own, on all the
    others: each user is ranked by rankers, and filled by members, that never saw them. One encoder each
    has to do. What they find of mixtures is taken to hold for the members given, which are trained on more.

    Source: L. Breiman, "Stacked Regressions", Machine Learning 24, 1996.
    """
    parts = ground.regime.options.crossed
    warm = ground.split.warm
    many = len(ground.validation) >= MOST_USERS or ground.examples.sampled
    if parts < 2 or many or len(warm) < _FEWEST * parts:
        return try_mixtures(ground, members, ground.validation[:MOST_USERS])
    names = [name for name in members if name not in PRIORS]
    trials = [
        _try_part(ground, names, split, part, seed, watch)
        for part, split in enumerate(inner_splits(ground.split, parts, seed))
    ]
    return Trials(trials[0].mixtures, np.concatenate([tried.worth for tried in trials], axis=2))


def inner_splits(split: Split, parts: int, seed: int) -> Iterator[Split]:
    """The warm users split `parts` times, each of them held out once."""
    warm = np.sort(split.warm)
    rng = np.random.default_rng(seed)
    dealt = rng.permutation(len(warm)) % parts
    for part in range(parts):
        rest = rng.permutation(warm[dealt != part])
        chosen = max(1, round(VALIDATION_SHARE * len(rest)))
        yield Split(np.sort(rest[chosen:]), np.sort(rest[:chosen]), warm[dealt == part], split.cutoff_ms)


def _try_part(ground: Ground, names: list[str], split: Split, part: int, seed: int, watch: Watch) -> Trials:
    """Train on the others, and try on the part's users."""

    def watched(progress: Progress) -> None:
        watch(progress._replace(step=f"part {part + 1}: {progress.step}"))

    examples, folder = ground.examples, ground.regime.folder
    # Weights to start from have seen everyone: nothing here starts from any.
    regime = Regime(ground.regime.options, None if folder is None else folder / f"part-{part}")
    inner = lay_ground(
        ground.schema,
        examples.histories,
        split,
        ground.content,
        examples.item_shares,
        seed,
        len(ground.ranker.members),
        watched,
        regime,
    )
    members = train_members(inner, names, seed, 1, watched)
    return try_mixtures(inner, members, split.held_out)
