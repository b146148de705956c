"""The recipe: a data folder in, a bundle out. Reads top to bottom as training runs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from torch import nn

from feature_repo.catalogue import load_catalogue, load_items
from models.bundle import RECOMMENDER_FOLDER, Bundle, Manifest, write_bundle
from models.calibration import Calibration
from models.content import content_vectors
from models.export.onnx import example_inputs, export
from models.generators.encoder import Ensemble
from models.generators.prior import fit_priors
from models.generators.rung import Rung
from models.recommenders.features import TOWER_INPUTS, unit_values
from models.recommenders.ranker import MATRIX_FILE, TOWER_FILE
from models.recommenders.two_tower import Committee
from models.schema import Floats, Indices, TensorSchema
from models.training.calibrate import calibrate, fit_ranking_kappa, validation_metrics
from models.training.examples import Examples
from models.training.generator import VALIDATION_COUNTS, Task, train_generator
from models.training.histories import Doubles, Histories, item_category_shares, load_histories
from models.training.item_vectors import fit_item_vectors, fit_sharpness
from models.training.recommender import observed_arguments, train_committee
from models.training.split import Split, split_by_join_time

COLD_BELOW = 10
RANKERS = 3
MEMBERS = 3
RIDGES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_EVIDENCE = 10.0


@dataclass(frozen=True)
class Arguments:
    """What a training can be told.

    Attributes:
        seed: of every draw; equal seeds on one machine give equal models.
        rankers: two-towers whose mean is the ranker.
        members: encoders whose mean is the generator.
        cold_below: users with fewer events are filled.
    """

    seed: int = 0
    rankers: int = RANKERS
    members: int = MEMBERS
    cold_below: int = COLD_BELOW


class Progress(NamedTuple):
    """Where a training is: a step's name, and for models in training the epoch and validation loss."""

    step: str
    epoch: int = 0
    loss: float = float("nan")


Watch = Callable[[Progress], None]


def unwatched(progress: Progress) -> None:
    """Watches nothing."""


@dataclass(frozen=True)
class Trained:
    """Everything that was fitted, before it becomes files."""

    schema: TensorSchema
    split: Split
    examples: Examples
    ranker: Committee
    rungs: dict[str, Rung]
    calibration: Calibration
    metrics: dict[str, float]


def train(data: Path, root: Path, arguments: Arguments | None = None, watch: Watch = unwatched) -> Bundle:
    """Train on the data set in `data` and write the bundle below `root`; it is not activated.

    Held-out users, and what anyone did once the first of them had joined, train nothing.

    Raises:
        CatalogueError: no data set was loaded.
        TrainingError: too few users or events.
        ExportError: an exported file answers differently from torch.
    """
    arguments = arguments or Arguments()
    # The matrices are small: a second thread costs more in hand-overs than it computes.
    torch.set_num_threads(1)
    catalogue = load_catalogue(data)
    items = load_items(data, catalogue)
    histories = load_histories(data, catalogue, items)
    split = split_by_join_time(histories)
    schema = TensorSchema.of(catalogue, items)
    watch(Progress("item vectors"))
    content = content_vectors(catalogue, items)
    shares = item_category_shares(catalogue, items)
    trained = fit_models(schema, histories, split, content, shares, arguments, watch)
    watch(Progress("export"))
    return save(trained, items.ids, root, arguments)


def save(trained: Trained, item_ids: list[str], root: Path, arguments: Arguments) -> Bundle:
    """Write fitted models as a bundle below `root`.

    Raises:
        ExportError: an exported file answers differently from torch.
    """
    manifest = Manifest(
        version=datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ"),
        fingerprint=trained.schema.fingerprint,
        schema=trained.schema,
        cold_below=arguments.cold_below,
        calibration=trained.calibration,
        mean_value=trained.examples.assumed_value,
        cutoff_ms=trained.split.cutoff_ms,
        metrics=trained.metrics,
        arguments=msgspec.to_builtins(arguments),
        sha256={},
    )
    vectors = trained.examples.item_vectors
    return write_bundle(root, manifest, item_ids, vectors, lambda folder: write_models(trained, folder))


def fit_models(
    schema: TensorSchema,
    histories: Histories,
    split: Split,
    content: Floats,
    item_shares: Floats,
    arguments: Arguments,
    watch: Watch = unwatched,
) -> Trained:
    """Fit everything on what warm users did before the cutoff; see `train`."""
    past = histories.before(split.cutoff_ms)
    fitting = past.after(split.train, 0)
    popularity = np.bincount(past.items[fitting.events], minlength=schema.item_count).astype(np.float32)
    vectors = fit_item_vectors(past, split.train, content, schema.catalogue.embedding_width, arguments.seed)
    examples = examples_of(past, split.train, schema, item_shares, vectors)

    def watched(step: str) -> Callable[[int, float], None]:
        return lambda epoch, loss: watch(Progress(step, epoch, loss))

    ranker = train_committee(
        examples,
        split.train,
        split.validation,
        popularity,
        arguments.seed,
        arguments.rankers,
        on_epoch=watched("ranker"),
    )
    profiles = examples.full_profiles(split.train)
    counts = past.counts[split.train]
    global_prior, segment_prior = fit_priors(
        profiles, past.attributes[split.train], counts / (counts + _EVIDENCE), item_shares.shape[1], RIDGES
    )
    watch(Progress("calibration"))
    spread = block_spread(profiles, item_shares.shape[1])
    chosen = split.validation[past.counts[split.validation] > 1]
    batches = [examples.batch(past.first(chosen, count)) for count in VALIDATION_COUNTS]
    kappa = {
        "segment_prior": fit_ranking_kappa(Task(ranker, {}, spread), segment_prior, batches),
        "global_prior": fit_ranking_kappa(Task(ranker, {}, spread), global_prior, batches),
    }
    # Untrained, the generator is its prior: with the prior's κ it starts as the strongest shrinkage.
    kappa["generator"] = kappa["segment_prior"]
    tasks = {name: Task(ranker, fitted, spread) for name, fitted in kappa.items()}
    members: list[nn.Module] = []
    for member in range(arguments.members):
        encoder, _ = train_generator(
            examples,
            tasks["generator"],
            segment_prior,
            split.train,
            split.validation,
            seed=arguments.seed * 1000 + member,
            on_epoch=watched(f"generator {member + 1} of {arguments.members}"),
        )
        members.append(encoder)
    sharpness = fit_sharpness(
        profiles[:, item_shares.shape[1] :].astype(np.float32), examples.uses(fitting), vectors, popularity
    )
    fillers = {"generator": Ensemble(members), "segment_prior": segment_prior, "global_prior": global_prior}
    rungs = {
        name: Rung(filler, vectors, popularity, sharpness, schema.virtual_length).eval()
        for name, filler in fillers.items()
    }
    watch(Progress("calibration"))
    calibration = calibrate(
        rungs, tasks, examples, split.validation, global_prior.mean, arguments.cold_below
    )
    metrics = validation_metrics(rungs, tasks, calibration, batches)
    return Trained(schema, split, examples, ranker, rungs, calibration, metrics)


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


def write_models(trained: Trained, folder: Path) -> None:
    """Write the rungs and the recommender of a bundle, each compared with torch."""
    example = example_inputs(trained.schema)
    names = [spec.name for spec in trained.schema.outputs]
    for name, rung in trained.rungs.items():
        export(rung, folder / f"{name}.onnx", example, names, ranked={"virtual_items": "virtual_weights"})
    recommender = folder / RECOMMENDER_FOLDER
    recommender.mkdir()
    with torch.no_grad():
        np.save(recommender / MATRIX_FILE, trained.ranker.items().numpy(), allow_pickle=False)
    batch = trained.examples.batch(
        trained.examples.histories.first(np.resize(trained.split.warm, 64), 5), False
    )
    inputs = zip(TOWER_INPUTS, observed_arguments(batch), strict=True)
    export(
        trained.ranker,
        recommender / TOWER_FILE,
        {name: tensor.numpy() for name, tensor in inputs},
        ["user_vector"],
    )
