"""A bundle's folder, as a training writes it: whole, or not at all."""

import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from models.bundle import (
    ITEMS_FILE,
    LEARNED,
    MANIFEST_FILE,
    SAMPLES_FILE,
    VECTORS_FILE,
    Bundle,
    BundleError,
    Manifest,
    checksum,
    half_of,
    rungs_among,
)
from models.export.half import halve
from models.samples import Samples
from models.schema import Floats, TensorSchema
from models.session import OnnxSession


def write_bundle(
    root: Path,
    manifest: Manifest,
    item_ids: list[str],
    item_vectors: Floats,
    write_models: Callable[[Path], None],
) -> Bundle:
    """Write a bundle as `root`/`manifest.version`, samples and checksums added: whole or not at all.

    Args:
        write_models: puts the rungs and the recommender into the folder it is given.

    Raises:
        BundleError: the version exists already.
    """
    target, partial = root / manifest.version, root / f".{manifest.version}.{uuid.uuid4().hex}"
    if target.exists():
        raise BundleError(f"{target} exists already: a bundle is never written twice")
    partial.mkdir(parents=True)
    try:
        (partial / ITEMS_FILE).write_bytes(msgspec.json.encode(item_ids))
        np.save(partial / VECTORS_FILE, item_vectors, allow_pickle=False)
        write_models(partial)
        _sample_and_halve(partial, manifest.schema)
        names = sorted(str(path.relative_to(partial)) for path in partial.rglob("*") if path.is_file())
        complete = msgspec.structs.replace(
            manifest, sha256={name: checksum(partial, name) for name in names}
        )
        (partial / MANIFEST_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(complete), indent=1))
        for name in [*names, MANIFEST_FILE]:
            with (partial / name).open("rb+") as file:
                os.fsync(file.fileno())
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Bundle.load(target)


def _sample_and_halve(folder: Path, schema: TensorSchema) -> None:
    rungs = rungs_among([path.name for path in folder.iterdir()])
    sessions = {rung: OnnxSession(folder / f"{rung}.onnx") for rung in rungs}
    samples = Samples.taken(schema, sessions)
    samples.save(folder / SAMPLES_FILE)
    for rung in LEARNED & sessions.keys():
        path = folder / f"{rung}.onnx"
        if not half_of(path).exists():
            halve(rung, path, half_of(path), samples)
