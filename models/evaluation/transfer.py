"""Transfer: what pretraining on one catalogue is worth to another, from its first day on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from feature_repo.catalogue import Catalogue, Items, load_catalogue, load_items
from models.content import shared_content
from models.evaluation.bootstrap import Doubles, Interval, mean_interval, paired_difference
from models.evaluation.ranking import score_table
from models.generators.tokens import Tokens
from models.schema import Floats, Indices, TensorSchema
from models.training.examples import Examples
from models.training.ground import examples_of
from models.training.histories import item_category_shares, load_histories
from models.training.pretraining import SCHEDULE, Foresight, Users, pretrain
from models.training.split import Split, split_by_join_time

WIDTH = 64
COUNTS = (1, 2, 3, 5)
METRIC = "ndcg@10"
SUBJECTS = ("content", "day_one", "popular", "scratch", "transferred")
_ROWS = 512


@dataclass(frozen=True)
class Site:
    """A catalogue with its users, items' content being in a space that it shares with others.

    Attributes:
        examples: of what happened before the split's cutoff, to learn from.
        whole: of all that happened, to judge by.
    """

    name: str
    split: Split
    examples: Examples
    whole: Examples

    def popularity(self, users: Indices) -> Floats:
        """[I] events of these users."""
        histories = self.examples.histories
        used = histories.items[histories.after(users, 0).events]
        return np.bincount(used, minlength=self.examples.schema.item_count).astype(np.float32)


@dataclass(frozen=True)
class Transfer:
    """NDCG@10 of the target's held-out users: `values[subject][k]` is [U].

    Subjects, none of which saw a held-out user: `content` compares content alone; `day_one` was trained
    on the source and has seen no user of the target; `popular` ranks by popularity among the target's
    training users; `scratch` was trained on those, and `transferred` on the source and then on those.
    """

    source: str
    target: str
    users: int
    values: Mapping[str, Mapping[int, Doubles]]

    def interval(self, subject: str, k: int) -> Interval:
        """Mean over users, with its 95% interval."""
        return mean_interval(self.values[subject][k])

    def lift(self, subject: str, over: str, k: int) -> Interval:
        """Gain of a subject over another, paired."""
        return paired_difference(self.values[subject][k], self.values[over][k])


def measure_transfer(source: Path, target: Path, share: float, seed: int = 0) -> Transfer:
    """Pretrain on the data set in `source`, fine-tune on `share` of the training users in `target`.

    Raises:
        CatalogueError: no data set is there.
        TrainingError: too few users or events.
    """
    ours, theirs = load_sites([source, target])
    rng = np.random.default_rng(seed)
    train = np.sort(rng.permutation(theirs.split.train)[: max(2, round(share * len(theirs.split.train)))])
    few = Users(train, theirs.split.validation)
    nothing = np.zeros(theirs.examples.schema.item_count, np.float32)
    popularity = theirs.popularity(train)

    torch.manual_seed(seed)
    source_tokens = Tokens(ours.examples.item_vectors)
    many = Users(ours.split.train, ours.split.validation)
    # Offsets stay behind with their items: what is to be taken along must not hide in them.
    schedule = replace(SCHEDULE, frozen=("tokens.offsets.*",))
    learned, _ = pretrain(
        source_tokens, ours.examples, many, ours.popularity(many.train), seed, schedule=schedule
    )

    torch.manual_seed(seed)
    scratch, _ = pretrain(Tokens(theirs.examples.item_vectors), theirs.examples, few, popularity, seed)
    begun = moved_to(learned, theirs, nothing).tokens
    transferred, _ = pretrain(begun, theirs.examples, few, popularity, seed)
    popular = Foresight(Tokens(theirs.examples.item_vectors), popularity)
    with torch.no_grad():
        popular.sharpness.zero_()
    models = {
        "day_one": moved_to(learned, theirs, nothing),
        "popular": popular,
        "scratch": scratch,
        "transferred": transferred,
    }
    values = {subject: {k: _scores(theirs, models.get(subject), k) for k in COUNTS} for subject in SUBJECTS}
    return Transfer(ours.name, theirs.name, len(train), values)


def load_sites(folders: list[Path]) -> list[Site]:
    """Data sets whose items' content vectors share a space."""
    loaded: list[tuple[Catalogue, Items]] = []
    for folder in folders:
        catalogue = load_catalogue(folder)
        loaded.append((catalogue, load_items(folder, catalogue)))
    sites = []
    for folder, (catalogue, items), vectors in zip(
        folders, loaded, shared_content(loaded, WIDTH), strict=True
    ):
        histories = load_histories(folder, catalogue, items)
        split = split_by_join_time(histories)
        schema = TensorSchema.of(catalogue, items)
        shares = item_category_shares(catalogue, items)
        past = histories.before(split.cutoff_ms)
        examples = examples_of(past, split.train, schema, shares, vectors)
        sites.append(Site(catalogue.name, split, examples, replace(examples, histories=histories)))
    return sites


def moved_to(learned: Foresight, site: Site, popularity: Floats) -> Foresight:
    """What was learned elsewhere, on this site's items: all but the offsets of items that are not here."""
    moved = Foresight(Tokens(site.examples.item_vectors), popularity)
    with torch.no_grad():
        moved.tokens.projection.weight.copy_(learned.tokens.projection.weight)
        moved.sharpness.copy_(learned.sharpness)
        moved.popularity_weight.copy_(learned.popularity_weight)
    return moved.eval()


def _scores(site: Site, model: Foresight | None, count: int) -> Doubles:
    """[U] metric of held-out users with more than `max(COUNTS)` events; None compares content alone."""
    histories = site.whole.histories
    users = site.split.held_out[histories.counts[site.split.held_out] > max(COUNTS)]
    found = []
    for start in range(0, len(users), _ROWS):
        batch = site.whole.batch(histories.first(users[start : start + _ROWS], count), complete=False)
        with torch.no_grad():
            if model is None:
                scores = batch["observed_embedding"] @ torch.as_tensor(site.examples.item_vectors).T
            else:
                scores = model(batch)
        seen, later = batch["seen"].numpy() > 0, batch["later"].numpy() > 0
        found.append(score_table(scores.numpy(), seen, later)[METRIC])
    return np.concatenate(found)
