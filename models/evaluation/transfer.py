"""Transfer: what pretraining on one site is worth to another, of which a part of the users is known."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from models.evaluation.bootstrap import Doubles, Interval, mean_interval, paired_difference
from models.evaluation.ranking import score_table
from models.evaluation.site import Encode, View, load_site
from models.generators.tokens import Tokens
from models.schema import Floats, Indices
from models.training.pretraining import SCHEDULE, Foresight, Users, pretrain
from models.training.split import VALIDATION_SHARE, TrainingError

COUNTS = (1, 2, 3, 5)
METRIC = "ndcg@10"
SUBJECTS = ("content", "day_one", "popular", "scratch", "transferred")
FEW = replace(SCHEDULE, learning_rate=SCHEDULE.learning_rate / 10)
"""How slowly a part of the users trains a model, begun elsewhere or not: few are soon known by heart."""

_ROWS = 512


@dataclass(frozen=True)
class Transfer:
    """NDCG@10 of the target's users: `values[subject][k]` is [U].

    Subjects: `content` compares content alone; `day_one` was trained on the source and has seen no user
    of the target; `popular` ranks by popularity among a part of the target's users; `scratch` was trained
    on those, and `transferred` on the source and then on those. A user counts with the mean over the parts
    that they are not of: nothing that they did, or wrote of an item, is known to any subject.

    Attributes:
        users: trained on in the target, in each part.
        parts: of the target's users, each trained on alone.
    """

    source: str
    target: str
    users: int
    parts: int
    values: Mapping[str, Mapping[int, Doubles]]

    def interval(self, subject: str, k: int) -> Interval:
        """Mean over users, with its 95% interval."""
        return mean_interval(self.values[subject][k])

    def lift(self, subject: str, over: str, k: int) -> Interval:
        """Gain of a subject over another, paired."""
        return paired_difference(self.values[subject][k], self.values[over][k])


def measure_transfer(source: Path, target: Path, share: float, encode: Encode, seed: int = 0) -> Transfer:
    """Pretrain on the data set in `source`, fine-tune on parts of the users in `target`.

    The target's users are dealt to parts of `share` each. Each part trains alone, its last seventh only
    to stop by, and everyone else with enough events is ranked for.

    Raises:
        CatalogueError: no data set is there.
        TrainingError: too few users or events.
    """
    ours, theirs = load_site(source), load_site(target)
    meanings = encode([*ours.texts, *theirs.texts])
    rng = np.random.default_rng(seed)
    site = ours.seen_by(divide(rng.permutation(ours.size)), meanings[: len(ours.texts)])
    # Offsets stay behind with their items: what is to be taken along must not hide in them.
    learned = _blank(site, seed)
    schedule = replace(SCHEDULE, frozen=("tokens.offsets.*",))
    pretrain(learned, site.examples, site.users, seed, schedule)
    parts = np.array_split(rng.permutation(theirs.size), max(2, round(1 / share)))
    judged = np.flatnonzero(theirs.histories.counts > max(COUNTS))
    values = {
        subject: {count: np.full((len(parts), len(judged)), np.nan) for count in COUNTS}
        for subject in SUBJECTS
    }
    for place, part in enumerate(parts):
        view = theirs.seen_by(divide(part), meanings[len(ours.texts) :])
        others = ~np.isin(judged, part)
        for subject, model in _subjects(view, learned, seed).items():
            for count in COUNTS:
                values[subject][count][place, others] = _scores(view, model, judged[others], count)
    return Transfer(
        ours.name,
        theirs.name,
        len(parts[0]),
        len(parts),
        {
            subject: {count: np.nanmean(table, axis=0) for count, table in by_count.items()}
            for subject, by_count in values.items()
        },
    )


def divide(users: Indices) -> Users:
    """Those who train, and those of them by whom a training is stopped.

    Raises:
        TrainingError: there are too few to have some of each.
    """
    chosen = round(VALIDATION_SHARE * len(users))
    if chosen < 1:
        raise TrainingError(f"{len(users)} users are too few to train on: take a larger share")
    return Users(np.sort(users[chosen:]), np.sort(users[:chosen]))


def moved_to(learned: Foresight, view: View, popularity: Floats) -> Foresight:
    """What was learned elsewhere, on this site's items: all but the offsets of items that are not here."""
    moved = Foresight(Tokens(view.examples.item_vectors), popularity)
    with torch.no_grad():
        moved.tokens.projection.weight.copy_(learned.tokens.projection.weight)
        moved.sharpness.copy_(learned.sharpness)
        moved.popularity_weight.copy_(learned.popularity_weight)
    return moved.eval()


def _subjects(view: View, learned: Foresight, seed: int) -> Mapping[str, Foresight | None]:
    """All that are compared, by what this part of the target's users taught."""
    popular = _blank(view, seed).eval()
    with torch.no_grad():
        popular.sharpness.zero_()
    scratch, transferred = _blank(view, seed), moved_to(learned, view, view.popularity)
    for model in (scratch, transferred):
        pretrain(model, view.examples, view.users, seed, FEW)
    return {
        "content": None,
        "day_one": moved_to(learned, view, np.zeros_like(view.popularity)),
        "popular": popular,
        "scratch": scratch,
        "transferred": transferred,
    }


def _blank(view: View, seed: int) -> Foresight:
    """A model that was taught nothing."""
    torch.manual_seed(seed)
    return Foresight(Tokens(view.examples.item_vectors), view.popularity)


def _scores(view: View, model: Foresight | None, users: Indices, count: int) -> Doubles:
    """[U] metric of users after `count` events; without a model, content alone is compared."""
    examples, found = view.examples, []
    for start in range(0, len(users), _ROWS):
        batch = examples.batch(
            examples.histories.first(users[start : start + _ROWS], count), complete=False
        )
        with torch.no_grad():
            if model is None:
                scores = batch["observed_embedding"] @ torch.as_tensor(examples.item_vectors).T
            else:
                scores = model(batch)
        seen, later = batch["seen"].numpy() > 0, batch["later"].numpy() > 0
        found.append(score_table(scores.numpy(), seen, later)[METRIC])
    return np.concatenate(found)
