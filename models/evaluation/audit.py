"""The audit of generators: fidelity and privacy of the profiles that each of them fills in."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import nn

from models.evaluation.evaluation import Number
from models.evaluation.fidelity import measure_fidelity
from models.evaluation.membership import attack, distance_ratios, distances
from models.generators.sampled import Sampled
from models.schema import Indices
from models.training.generator import fill_of
from models.training.ground import Ground
from models.training.histories import Doubles, Histories

COUNTS = (1, 3, 10)
MOST_USERS = 500


def audit(
    ground: Ground,
    histories: Histories,
    fillers: Mapping[str, nn.Module],
    names: Mapping[str, str] | None = None,
    counts: tuple[int, ...] = COUNTS,
) -> Iterator[Number]:
    """Fidelity and privacy of each filler's profiles of users it was not trained on.

    Members are training users, others those that the ground's split holds out at random. Three attacks
    guess who is a member, knowing first events and the full profile: by how near the fill comes to the
    full profile, by how near the user's full profile lies to any profile that was filled in for members,
    and by both ranks together.

    Args:
        histories: of everyone, held-out users' later events included.
        names: of the fillers, as subjects.
    """
    rng = np.random.default_rng(0)
    members, others = (
        np.sort(rng.permutation(users[histories.counts[users] > max(counts)])[:MOST_USERS])
        for users in (ground.split.train, ground.split.held_out)
    )
    real = {name: _full(ground, histories, users) for name, users in (("in", members), ("out", others))}
    known = _full(ground, histories, ground.split.train[histories.counts[ground.split.train] > 1])
    categories = len(ground.schema.catalogue.categories)
    own = distance_ratios(real["out"], known)
    for name, filler in fillers.items():
        subject = (names or {}).get(name, name)
        for k in counts:
            labels = {"k": k, "dataset": ground.schema.catalogue.name}
            inside, outside = (_filled(ground, histories, filler, users, k) for users in (members, others))
            found = measure_fidelity(outside, real["out"])
            for measure, values in vars(found).items():
                for block, part in (("affinity", values[:categories]), ("embedding", values[categories:])):
                    yield _plain(f"fidelity.{measure}", subject, part, labels | {"block": block})
            ratios = distance_ratios(outside, known)
            yield _plain("privacy.distance_ratio", subject, ratios, labels)
            yield _plain("privacy.distance_ratio", "real profiles", own, labels)
            scores = [
                (
                    -np.linalg.norm(inside - real["in"], axis=1),
                    -np.linalg.norm(outside - real["out"], axis=1),
                ),
                tuple(-distances(real[side], inside).min(axis=1) for side in ("in", "out")),
            ]
            scores.append(_together(scores))
            for kind, (ours, theirs) in zip(("error", "nearness", "both"), scores, strict=True):
                won = attack(ours, theirs)
                yield Number(
                    "privacy.membership_auc",
                    subject,
                    won.value,
                    "share",
                    won.low,
                    won.high,
                    won.n,
                    labels | {"attack": kind},
                )


def _together(scores: list[tuple[Doubles, ...]]) -> tuple[Doubles, Doubles]:
    """The mean rank by several scores, of members and of others."""
    size = len(scores[0][0])
    ranks = [np.argsort(np.argsort(np.concatenate(pair))) for pair in scores]
    mean = np.mean(ranks, axis=0)
    return mean[:size], mean[size:]


def _plain(measure: str, subject: str, values: Doubles, labels: Mapping[str, object]) -> Number:
    """The mean over features or users, beside the smallest and largest."""
    unit = {"fidelity.jensen_shannon": "bits", "fidelity.wasserstein": "standard deviations"}.get(
        measure, "share"
    )
    low, high = float(values.min()), float(values.max())
    return Number(measure, subject, float(values.mean()), unit, low, high, len(values), labels)


def _full(ground: Ground, histories: Histories, users: Indices) -> Doubles:
    """[U, C + D] full profiles in units of their blocks' spread."""
    examples = ground.examples
    cut = histories.after(users, 0)
    shares = histories.observe(cut, examples.schema, examples.item_shares)["affinity"]
    pooled = histories.pooled(cut, examples.item_vectors)
    full: Doubles = np.concatenate([shares, pooled], axis=1).astype(np.float64)
    return full / _scale(ground)


def _filled(ground: Ground, histories: Histories, filler: nn.Module, users: Indices, count: int) -> Doubles:
    """[U, C + D] fills after `count` events; of a generator of samples, one sample each."""
    examples = ground.examples
    observed = histories.observe(histories.first(users, count), examples.schema, examples.item_shares)
    batch = {name: torch.as_tensor(array) for name, array in observed.items()}
    with torch.no_grad():
        if isinstance(filler, Sampled):
            noise = torch.randn(
                len(users), filler.draws.shape[1], generator=torch.Generator().manual_seed(0)
            )
            fill = filler.sample(batch, noise)
        else:
            fill = fill_of(filler, batch)
    filled: Doubles = torch.cat(fill, dim=1).double().numpy()
    return filled / _scale(ground)


def _scale(ground: Ground) -> Doubles:
    scale: Doubles = np.sqrt(ground.spread.double().numpy())
    return scale
