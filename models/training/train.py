"""The recipe: a data folder in, a bundle out. Reads top to bottom as training runs."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from feature_repo.catalogue import load_catalogue, load_items
from models.bundle import STUDENT, Bundle
from models.knowledge.space import item_content
from models.schema import Floats, TensorSchema
from models.students.book import Book, read_book
from models.students.champion import crown
from models.students.distil import Taught, train_student
from models.training.arguments import Arguments
from models.training.calibrate import calibrate, validation_metrics
from models.training.crossfit import try_members
from models.training.fusion import Trials, fit_fusion
from models.training.generators import FUSED, Member, train_members
from models.training.ground import Ground, Progress, Watch, lay_ground, unwatched
from models.training.histories import Histories, item_category_shares, load_histories
from models.training.logged import Logged
from models.training.regime import Regime
from models.training.split import Split, split_by_join_time
from models.training.start import start_from
from models.training.trained import Trained, save


def train(
    data: Path,
    root: Path,
    arguments: Arguments | None = None,
    watch: Watch = unwatched,
    runs: Path | None = None,
    logged: Logged | None = None,
) -> Bundle:
    """Train on the data set in `data` and write the bundle below `root`; it is not activated.

    Held-out users, and what anyone did once the first of them had joined, train nothing.

    Args:
        runs: folder where a training keeps its state until it is done; one of the same data and
            arguments that was cut short goes on there.
        logged: what the stream has logged beside what `data` holds.

    Raises:
        CatalogueError: no data set was loaded.
        TrainingError: too few users or events, or hardly any new ones.
        BundleError: the bundle to start from is damaged or gone.
        ExportError: an exported file answers differently from torch.
        TeacherError: a folder of lessons holds none.
        GateError: the student, compressed, ranks otherwise than it did.
    """
    arguments = arguments or Arguments()
    # The matrices are small: a second thread costs more in hand-overs than it computes.
    torch.set_num_threads(1)
    catalogue = load_catalogue(data)
    items = load_items(data, catalogue)
    histories = load_histories(data, catalogue, items, logged)
    split = split_by_join_time(histories)
    schema = TensorSchema.of(catalogue, items)
    watch(Progress("item vectors"))
    content = item_content(catalogue, items, arguments.encoder)
    shares = item_category_shares(catalogue, items)
    folder = None if runs is None else runs / digest_of(schema, histories, arguments)
    regime = Regime(arguments.options, folder)
    if arguments.start is not None:
        regime = replace(
            regime,
            start=start_from(Bundle.load(root / arguments.start)),
            item_ids=items.ids,
            fresh=fresh_users(histories.before(split.cutoff_ms), arguments.since_ms),
        )
    books = [read_book(Path(folder), histories, catalogue, items) for folder in arguments.lessons]
    trained = fit_models(schema, histories, split, content, shares, arguments, watch, regime, books)
    watch(Progress("export"))
    bundle = save(trained, items.ids, root, arguments)
    regime.forget()
    return bundle


def fresh_users(histories: Histories, since_ms: int) -> npt.NDArray[np.bool_]:
    """[U] whether each user has an event at or after `since_ms`."""
    new = histories.owners[histories.times_ms >= since_ms]
    return np.bincount(new, minlength=len(histories.user_ids)) > 0


def digest_of(schema: TensorSchema, histories: Histories, arguments: Arguments) -> str:
    """Names data and arguments: a training of the same name would come to the same weights."""
    digest = hashlib.sha256(schema.fingerprint.encode() + msgspec.json.encode(arguments))
    for array in (histories.starts, histories.items, histories.weights, histories.times_ms):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def fit_models(
    schema: TensorSchema,
    histories: Histories,
    split: Split,
    content: Floats,
    item_shares: Floats,
    arguments: Arguments,
    watch: Watch = unwatched,
    regime: Regime | None = None,
    books: Sequence[Book] = (),
) -> Trained:
    """Fit everything on what warm users did before the cutoff; see `train`.

    Args:
        books: what teachers taught; without any there is no student.
    """
    regime = regime or Regime(arguments.options)
    ground = lay_ground(
        schema, histories, split, content, item_shares, arguments.seed, arguments.rankers, watch, regime
    )
    fused = arguments.options.fused or FUSED
    members = train_members(ground, fused, arguments.seed, arguments.members, watch)
    tried: Trials | None = try_members(ground, members, arguments.seed, watch)
    taught = None
    if books:
        # Lessons are of some users, which no part of the others could be taught by: a second, smaller
        # fusion weighs the student against the first one, whose answers it has learned from, too.
        fusion, _ = fit_fusion(ground, members, tried)
        first = (fusion, fusion.kappa())
        taught = train_student(
            ground, books, arguments.student, arguments.pruned, arguments.seed, watch, first
        )
        members = {
            "segment_prior": members["segment_prior"],
            "fusion": first,
            STUDENT: (taught.student, taught.kappa),
        }
        tried = None
    return assemble(ground, members, arguments, watch, taught, tried)


def assemble(
    ground: Ground,
    members: Mapping[str, Member],
    arguments: Arguments,
    watch: Watch = unwatched,
    taught: Taught | None = None,
    tried: Trials | None = None,
) -> Trained:
    """Fuse the members, and calibrate all rungs.

    Args:
        taught: a student, also a rung of its own.
        tried: what mixtures of the members are worth, if validation users are not to tell.
    """
    watch(Progress("fusion"))
    fusion, proven = fit_fusion(ground, members, tried, None if taught is None else STUDENT)
    fillers: dict[str, nn.Module] = {
        "generator": fusion,
        "segment_prior": ground.segment_prior,
        "global_prior": ground.global_prior,
    }
    tasks = {name: ground.task(kappa) for name, kappa in ground.kappa.items()}
    tasks["generator"] = ground.task(fusion.kappa())
    if taught is not None:
        fillers[STUDENT], tasks[STUDENT] = taught.student, ground.task(taught.kappa)
    rungs = {name: ground.rung(filler) for name, filler in fillers.items()}
    watch(Progress("calibration"))
    calibration = calibrate(
        rungs,
        tasks,
        ground.examples,
        ground.validation,
        arguments.cold_below,
        proven,
    )
    if taught is not None:
        calibration = crown(ground, rungs, tasks, calibration)
    metrics = validation_metrics(rungs, tasks, calibration, ground.batches)
    reasons = None if taught is None else taught.reasons
    return Trained(ground, rungs, calibration, metrics, arguments.cold_below, reasons)
