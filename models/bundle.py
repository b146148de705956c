"""A bundle: everything serving needs of one training, in one folder that is whole or not there at all."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np

from models.calibration import Calibration, fully_known
from models.samples import Precision, SampleError, Samples
from models.schema import Floats, TensorSchema
from models.session import InferenceSession, OnnxSession

MANIFEST_FILE = "manifest.json"
ITEMS_FILE = "items.json"
VECTORS_FILE = "item_vectors.npy"
SAMPLES_FILE = "samples.npz"
RECOMMENDER_FOLDER = "recommender"

RUNGS = ("generator", "segment_prior", "global_prior")
"""The ladder, best first: what every bundle holds."""

STUDENT = "student"
"""The rung before them, in bundles that were trained with a teacher's lessons."""

REASON_CODES = ("attribute", "event", "similar_item", "knowledge_edge")
"""What a student's teacher may give as its reason."""

REASONS_FILE = "reasons.onnx"

LEARNED = frozenset({STUDENT, "generator"})
"""Rungs worth a device, offered in half precision too. Priors are look-ups."""


class BundleError(RuntimeError):
    """A bundle is missing, incomplete, altered, or made for another schema; the message names the file."""


class Manifest(msgspec.Struct, frozen=True):
    """What a bundle is, in one JSON file.

    Attributes:
        version: the bundle's name; later bundles sort later.
        fingerprint: of `schema`, as it was when the models were trained.
        cold_below: users with at least this many events need no fill.
        calibration: weights, confidences and the choice of rung by count.
        mean_value: the value in 0..1 the ranker assumes of users who gave none.
        cutoff_ms: nothing that happened from then on trained these models.
        metrics: what was measured on validation users.
        arguments: of the training.
        sha256: of every other file, by path within the bundle.
    """

    version: str
    fingerprint: str
    schema: TensorSchema
    cold_below: int
    calibration: Calibration
    mean_value: float
    cutoff_ms: int
    metrics: dict[str, float]
    arguments: dict[str, Any]
    sha256: dict[str, str]


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle: its files were checked when it was opened."""

    folder: Path
    manifest: Manifest
    item_ids: list[str]
    item_vectors: Floats

    @property
    def version(self) -> str:
        """The bundle's name."""
        return self.manifest.version

    @property
    def schema(self) -> TensorSchema:
        """Names, types and widths of the rungs' tensors."""
        return self.manifest.schema

    @property
    def calibration(self) -> Calibration:
        """Weights, confidences and the choice of rung by count."""
        return self.manifest.calibration

    @property
    def metrics(self) -> dict[str, float]:
        """What was measured on validation users."""
        return self.manifest.metrics

    @property
    def cold_below(self) -> int:
        """Users with at least this many events need no fill."""
        return self.manifest.cold_below

    @property
    def rungs(self) -> dict[str, Path]:
        """ONNX file of every rung, best first."""
        return {rung: self.folder / f"{rung}.onnx" for rung in rungs_among(self.manifest.sha256)}

    @cached_property
    def samples(self) -> Samples:
        """Questions with the answers each rung gave at training."""
        return Samples.load(self.folder / SAMPLES_FILE)

    @cached_property
    def reasons(self) -> InferenceSession | None:
        """Answers `reasons` [B, 4]: how likely each of `REASON_CODES` is; None without a student."""
        return OnnxSession(self.folder / REASONS_FILE) if REASONS_FILE in self.manifest.sha256 else None

    @property
    def recommender(self) -> Path:
        """Folder of the ranker trained in the same space."""
        return self.folder / RECOMMENDER_FOLDER

    @cached_property
    def item_index(self) -> dict[str, int]:
        """Item id → position in every model."""
        return {item_id: position for position, item_id in enumerate(self.item_ids)}

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open a bundle after checking every file.

        Raises:
            BundleError: a file is missing or altered, or the schema is not the one trained under.
        """
        manifest = read_manifest(folder)
        for name, expected in manifest.sha256.items():
            if checksum(folder, name) != expected:
                raise BundleError(f"{folder / name} was altered after training: train again, or roll back")
        needed = {ITEMS_FILE, VECTORS_FILE, SAMPLES_FILE, *(f"{rung}.onnx" for rung in RUNGS)}
        missing = needed - set(manifest.sha256)
        if missing:
            raise BundleError(f"{folder / MANIFEST_FILE} vouches for no {min(missing)}: train again")
        if manifest.schema.fingerprint != manifest.fingerprint:
            raise BundleError(
                f"{folder / MANIFEST_FILE}: the tensor schema changed since it was trained: train again"
            )
        if not fully_known(manifest.calibration, rungs_among(manifest.sha256)):
            raise BundleError(f"{folder / MANIFEST_FILE}: a rung lacks its calibration: train again")
        item_ids: list[str] = msgspec.json.decode((folder / ITEMS_FILE).read_bytes(), type=list[str])
        vectors = np.load(folder / VECTORS_FILE, allow_pickle=False)
        shape = (manifest.schema.item_count, manifest.schema.catalogue.embedding_width)
        if len(item_ids) != shape[0] or vectors.shape != shape:
            raise BundleError(
                f"{folder / VECTORS_FILE} is {vectors.shape}, the schema says {shape}: train again"
            )
        return cls(folder, manifest, item_ids, vectors)

    def require_schema(self, schema: TensorSchema) -> None:
        """Refuse to serve a catalogue the bundle was not trained for.

        Raises:
            BundleError: the fingerprints differ.
        """
        if schema.fingerprint != self.manifest.fingerprint:
            raise BundleError(
                f"{self.folder / MANIFEST_FILE} was trained for other items or vocabularies "
                f"({self.manifest.fingerprint[:12]}, not {schema.fingerprint[:12]}): run `kindling train`"
            )

    def verify(self, rung: str, session: InferenceSession, precision: Precision = "fp32") -> None:
        """Refuse a session that does not answer the bundle's samples as `rung` did at training.

        Raises:
            BundleError: it answers otherwise, or not at all.
        """
        try:
            self.samples.verify(rung, session, precision)
        except SampleError as error:
            raise BundleError(f"{self.rungs[rung]}: {error}: train and activate another bundle") from error


def half_of(path: Path) -> Path:
    """The file with the same model in half precision."""
    return path.with_suffix(".fp16.onnx")


def integers_of(path: Path) -> Path:
    """The file with the same model in 8-bit integers."""
    return path.with_suffix(".int8.onnx")


def rungs_among(names: Collection[str]) -> list[str]:
    """The rungs whose files are among `names`, best first."""
    return [rung for rung in (STUDENT, *RUNGS) if f"{rung}.onnx" in names]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the bundle in `folder`, its other files unchecked.

    Raises:
        BundleError: it is missing or malformed.
    """
    path = folder / MANIFEST_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise BundleError(f"{path} does not exist: run `kindling train`") from None
    except msgspec.MsgspecError as error:
        raise BundleError(f"{path} is malformed ({error}): train again") from error


def checksum(folder: Path, name: str) -> str:
    """SHA-256 of the file `name` of the bundle in `folder`, in hexadecimal digits.

    Raises:
        BundleError: it cannot be read.
    """
    try:
        return hashlib.sha256((folder / name).read_bytes()).hexdigest()
    except OSError as error:
        raise BundleError(f"{folder / name} cannot be read ({error.strerror}): train again") from error
