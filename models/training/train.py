"""The recipe: a data folder in, a bundle out. Reads top to bottom as training runs."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from feature_repo.catalogue import load_catalogue, load_items
from models.bundle import REASONS_FILE, RECOMMENDER_FOLDER, STUDENT, Bundle, Manifest
from models.calibration import Calibration
from models.export.folder import write_bundle
from models.export.onnx import export
from models.generators.blended import Blended
from models.generators.rung import Rung
from models.knowledge.space import item_content
from models.recommenders.features import TOWER_INPUTS
from models.recommenders.ranker import MATRIX_FILE, TOWER_FILE
from models.recommenders.two_tower import Committee
from models.samples import example_inputs
from models.schema import Floats, TensorSchema
from models.students.book import Book, read_book
from models.students.champion import crown
from models.students.compress import compress
from models.students.distil import Taught, train_student
from models.students.reasons import Reasons
from models.students.student import SizeName
from models.training.calibrate import calibrate, validation_metrics
from models.training.crossfit import try_members
from models.training.examples import Examples
from models.training.fusion import Trials, fit_fusion
from models.training.generators import FUSED, MEMBERS, Member, train_members
from models.training.ground import Ground, Progress, Watch, lay_ground, unwatched
from models.training.histories import Histories, item_category_shares, load_histories
from models.training.logged import Logged
from models.training.options import Options
from models.training.recommender import observed_arguments
from models.training.regime import Regime
from models.training.split import Split, split_by_join_time
from models.training.start import WEIGHTS_FOLDER, save_weights, start_from

COLD_BELOW = 10
RANKERS = 3


@dataclass(frozen=True)
class Arguments:
    """What a training can be told.

    Attributes:
        seed: of every draw; equal seeds on one machine give equal models.
        rankers: two-towers whose mean is the ranker.
        members: encoders whose mean is one of those that the generator fuses.
        cold_below: users with fewer events are filled.
        lessons: folders of teachers' lessons; without any, the bundle has no student.
        student: its size.
        pruned: share of its inner units that are taken out.
        options: of learned generators.
        encoder: folder of a sentence encoder that places items by what their texts mean, beside the graph
            and the words that place them without one.
        start: version of the bundle whose weights learned models start from, on users who did something
            at or after `since_ms`; None trains all from scratch.
    """

    seed: int = 0
    rankers: int = RANKERS
    members: int = MEMBERS
    cold_below: int = COLD_BELOW
    lessons: tuple[str, ...] = ()
    student: SizeName = "tiny"
    pruned: float = 0.0
    options: Options = field(default_factory=Options)
    encoder: str | None = None
    start: str | None = None
    since_ms: int = 0


@dataclass(frozen=True)
class Trained:
    """Everything that was fitted, before it becomes files."""

    ground: Ground
    rungs: dict[str, Rung]
    calibration: Calibration
    metrics: dict[str, float]
    cold_below: int
    reasons: Reasons | None = None

    @property
    def schema(self) -> TensorSchema:
        """Names, types and widths of all tensors."""
        return self.ground.schema

    @property
    def split(self) -> Split:
        """Who trained, who validated and who was held out."""
        return self.ground.split

    @property
    def examples(self) -> Examples:
        """What the models were trained on."""
        return self.ground.examples

    @property
    def ranker(self) -> Committee:
        """The frozen recommender."""
        return self.ground.ranker

    def answering(self, name: str, rung: Rung) -> Blended:
        """A rung as it is served: its fill blended with what was observed, and judged."""
        return Blended(rung, self.examples.item_vectors, self.calibration, name, self.cold_below).eval()


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
        taught = train_student(ground, books, arguments.student, arguments.pruned, arguments.seed, watch)
        # Lessons are of some users, which no part of the others could be taught by: a second, smaller
        # fusion weighs the student against the first one.
        fusion, _ = fit_fusion(ground, members, tried)
        members = {
            "segment_prior": members["segment_prior"],
            "fusion": (fusion, fusion.kappa()),
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
    fusion, proven = fit_fusion(ground, members, tried)
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


def write_models(trained: Trained, folder: Path) -> None:
    """Write the rungs and the recommender of a bundle, each compared with torch."""
    example = example_inputs(trained.schema)
    names = [spec.name for spec in trained.schema.outputs]
    for name, rung in trained.rungs.items():
        answering = trained.answering(name, rung)
        export(answering, folder / f"{name}.onnx", example, names, {"virtual_items": "virtual_weights"})
    if trained.reasons is not None:
        export(trained.reasons, folder / REASONS_FILE, example, ["reasons"])
        compress(folder / f"{STUDENT}.onnx", trained.ground)
    save_weights(trained.ground.regime.kept, folder / WEIGHTS_FOLDER)
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
