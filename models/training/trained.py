"""What a training fitted, and the bundle it becomes."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import torch

from models.bundle import REASONS_FILE, RECOMMENDER_FOLDER, STUDENT, Bundle, Manifest
from models.calibration import Calibration
from models.export.folder import write_bundle
from models.export.onnx import export
from models.generators.blended import Blended
from models.generators.rung import Rung
from models.recommenders.features import TOWER_INPUTS
from models.recommenders.ranker import MATRIX_FILE, TOWER_FILE
from models.recommenders.two_tower import Committee
from models.samples import example_inputs
from models.schema import TensorSchema
from models.students.compress import compress
from models.students.reasons import Reasons
from models.training.arguments import Arguments
from models.training.examples import Examples
from models.training.ground import Ground
from models.training.recommender import observed_arguments
from models.training.split import Split
from models.training.start import WEIGHTS_FOLDER, save_weights


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
