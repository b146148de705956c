"""Calibrating on validation users: how to weigh observed against filled, and how far to trust each rung."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from models.calibration import Calibration, gained, never_falling
from models.evaluation.conformal import FEWEST, conformal_radius, profile_errors
from models.evaluation.ranking import score_table
from models.generators.rung import Rung
from models.schema import BLOCKS, Indices
from models.training.examples import Batch, Examples
from models.training.generator import VALIDATION_COUNTS, Fill, Task, fill_of

_KAPPAS = tuple(float(kappa) for kappa in np.geomspace(0.5, 200, 14))

UNBLENDED = {"affinity": 1e9, "embedding": 1e9, "virtual_items": 1e9}
"""κ of a fill that stands alone, whatever was observed."""


def fit_ranking_kappa(task: Task, filler: torch.nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
    """`fit_fill_kappa` of what `filler` fills in."""
    with torch.no_grad():
        return fit_fill_kappa(task, [fill_of(filler, batch) for batch in batches], batches)


def fit_fill_kappa(task: Task, fills: Sequence[Fill], batches: Sequence[Batch]) -> dict[str, float]:
    """κ of the blend with the best NDCG@10 and Recall@20 under the ranker: a fill used as well as can be.

    Searched block by block, the embedding's twice, since it matters more.
    """

    def quality(affinity: float, embedding: float) -> float:
        tried = Task(task.ranker, kappas(affinity, embedding), task.spread)
        with torch.no_grad():
            metrics = [ranking_metrics(tried, b, f) for b, f in zip(batches, fills, strict=True)]
        return sum(sum(values.values()) for values in metrics)

    affinity = embedding = _KAPPAS[len(_KAPPAS) // 2]
    embedding = max(_KAPPAS, key=lambda kappa: quality(affinity, kappa))
    affinity = max(_KAPPAS, key=lambda kappa: quality(kappa, embedding))
    embedding = max(_KAPPAS, key=lambda kappa: quality(affinity, kappa))
    return kappas(affinity, embedding)


def ranking_metrics(task: Task, batch: Batch, fill: Fill) -> dict[str, float]:
    """Mean NDCG@10 and Recall@20 of the frozen ranker on the blended answer."""
    scores = task.scores(batch, task.blend(batch, fill)).numpy()
    table = score_table(scores, batch["seen"].numpy() > 0, batch["later"].numpy() > 0)
    return {metric: float(values.mean()) for metric, values in table.items()}


def kappas(affinity: float, embedding: float) -> dict[str, float]:
    """κ by block; virtual items follow the embedding they are drawn from."""
    return {"affinity": affinity, "embedding": embedding, "virtual_items": embedding}


def calibrate(
    rungs: Mapping[str, Rung],
    tasks: Mapping[str, Task],
    examples: Examples,
    validation: Indices,
    cold_below: int,
    proven: Sequence[bool],
) -> Calibration:
    """Confidence of every rung and block, and the choice of rung, at 0 to `cold_below` events.

    The generator answers where it is proven, elsewhere it abstains in favour of the segment prior.

    Confidence of affinity and embedding comes from their conformal radii, beside that of the global prior
    for users without events; of virtual items, it is the weight of those the user did use later.

    Args:
        tasks: per rung, with its own κ; `global_prior` among them.
        proven: whether the generator is better than the segment prior after 0, 1, 2, ... events; the
            last one holds for all more.
    """
    inputs = examples.schema.inputs
    histories = examples.histories
    radii: dict[str, dict[str, list[float]]] = {
        rung: {block: [] for block in BLOCKS if block != "virtual_items"} for rung in rungs
    }
    used: dict[str, list[float]] = {rung: [] for rung in rungs}
    for count in range(cold_below + 1):
        # Users with fewer events would be counted as what they are not, unless there are too few others.
        users = validation[histories.counts[validation] > count]
        if len(users) < FEWEST:
            users = validation
        cut = histories.first(users, count)
        batch = examples.sampled_batch(cut)
        for name, rung in rungs.items():
            with torch.no_grad():
                shares, embedding, items, weights = rung(*(batch[spec.name] for spec in inputs))
                blended = tasks[name].blend(batch, (shares, embedding))
            errors = profile_errors(*blended, batch["full"], tasks[name].spread)
            for block, known in errors.items():
                radii[name][block].append(conformal_radius(known))
            hits = examples.used_later(cut, items.numpy()) * weights.numpy()
            used[name].append(float(hits.sum(axis=1).mean()))
    ignorant = {block: by_count[0] for block, by_count in radii["global_prior"].items()}
    earned = {
        name: {block: [gained(r, ignorant[block]) for r in by_count] for block, by_count in blocks.items()}
        | {"virtual_items": used[name]}
        for name, blocks in radii.items()
    }
    return Calibration(
        kappa={name: task.kappa for name, task in tasks.items()},
        confidences={
            name: {block: never_falling(values) for block, values in blocks.items()}
            for name, blocks in earned.items()
        },
        rungs=[
            "generator" if proven[min(count, len(proven) - 1)] else "segment_prior"
            for count in range(cold_below + 1)
        ],
        radii=radii,
    )


def validation_metrics(
    rungs: Mapping[str, Rung],
    tasks: Mapping[str, Task],
    calibration: Calibration,
    batches: Sequence[Batch],
) -> dict[str, float]:
    """NDCG@10 and Recall@20 of validation users under the frozen ranker, by way of filling and count.

    `kindling` is the calibrated choice between generator and segment prior; `raw` fills nothing.
    """
    metrics: dict[str, float] = {}
    for count, batch in zip(VALIDATION_COUNTS, batches, strict=True):
        with torch.no_grad():
            profiles = {
                name: tasks[name].blend(batch, fill_of(rung, batch)[:2]) for name, rung in rungs.items()
            }
            profiles["kindling"] = profiles[calibration.best_rung(count)]
            profiles["raw"] = (batch["affinity"], batch["observed_embedding"])
            scores = {name: tasks["generator"].scores(batch, profile) for name, profile in profiles.items()}
        for name, scored in scores.items():
            table = score_table(scored.numpy(), batch["seen"].numpy() > 0, batch["later"].numpy() > 0)
            metrics |= {
                f"{name}/{metric}/{count}": float(values.mean()) for metric, values in table.items()
            }
    return metrics
