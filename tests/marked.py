"""Bundles made by hand, whose answers show who gave them: the bundle's mark, and the row's own count."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.bundle import (
    MANIFEST_FILE,
    RECOMMENDER_FOLDER,
    RUNGS,
    Bundle,
    Manifest,
    checksum,
    read_manifest,
)
from models.calibration import Calibration
from models.export.folder import write_bundle
from models.schema import BLOCKS, SparseProfile, Tensors, TensorSchema
from tests.shop import CATALOGUE, ITEMS

SCHEMA = TensorSchema.of(CATALOGUE, ITEMS)

TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}

CALIBRATION = Calibration(
    kappa={rung: dict.fromkeys(BLOCKS, 1.0) for rung in RUNGS},
    confidences={rung: {block: [0.5] for block in BLOCKS} for rung in RUNGS},
    rungs=["generator"],
)


def marked_bundle(
    root: Path, version: str, mark: float, spoil: Callable[[onnx.ModelProto], None] = lambda model: None
) -> Bundle:
    """A bundle whose every rung fills embeddings with the row's count, then `mark` in all other places.

    Args:
        spoil: changes the generator before it is sampled.
    """

    def write_models(folder: Path) -> None:
        for rung in RUNGS:
            model = marked_model(mark)
            if rung == "generator":
                spoil(model)
            onnx.save(model, str(folder / f"{rung}.onnx"))
        (folder / RECOMMENDER_FOLDER).mkdir()

    manifest = Manifest(version, SCHEMA.fingerprint, SCHEMA, 10, CALIBRATION, 0.5, 0, {}, {}, {})
    vectors = np.zeros((SCHEMA.item_count, CATALOGUE.embedding_width), np.float32)
    return write_bundle(root, manifest, ITEMS.ids, vectors, write_models)


def doctor(folder: Path, spoil: Callable[[onnx.ModelProto], None], rung: str = "generator") -> None:
    """Change a rung after its samples were taken, and sign it as if it had been trained so."""
    path = folder / f"{rung}.onnx"
    model = onnx.load(str(path))
    spoil(model)
    onnx.save(model, str(path))
    sign(folder)


def sign(folder: Path, **changes: object) -> None:
    """Write the manifest anew, changed, with the checksums of the files as they are."""
    manifest = read_manifest(folder)
    sha256 = {name: checksum(folder, name) for name in manifest.sha256}
    changed = msgspec.structs.replace(manifest, sha256=sha256, **changes)
    (folder / MANIFEST_FILE).write_bytes(msgspec.json.encode(changed))


def marked_model(mark: float) -> onnx.ModelProto:
    """Shares alike for all, the first items, and [count, mark, mark, ...] as embedding."""
    widths = {spec.name: spec.width for spec in SCHEMA.outputs}
    everyone = {
        "filled_affinity": np.full(
            (1, widths["filled_affinity"]), 1 / widths["filled_affinity"], np.float32
        ),
        "marks": np.full((1, widths["filled_embedding"] - 1), mark, np.float32),
        "virtual_items": np.arange(widths["virtual_items"])[None],
        "virtual_weights": np.full(
            (1, widths["virtual_weights"]), 1 / widths["virtual_weights"], np.float32
        ),
        "confidence": np.full((1, widths["confidence"]), 0.5, np.float32),
        "nothing": np.zeros((1, 1), np.float32),
        "sound": np.ones((1, 1), np.float32),
    }
    nodes = [
        helper.make_node("Shape", ["count"], ["rows"], end=1),
        helper.make_node("Concat", ["rows", "one"], ["shape"], axis=0),
        *(helper.make_node("Expand", [f"{name}_of_one", "shape"], [name], name=name) for name in everyone),
        helper.make_node("Concat", ["count", "marks"], ["filled_embedding"], axis=1),
        # As if of every κ that is 1, and of items whose vectors say nothing.
        helper.make_node("Add", ["count", "sound_of_one"], ["one_more"]),
        helper.make_node("Div", ["count", "one_more"], ["share"]),
        helper.make_node("Concat", ["share", "nothing"], ["observed_weight"], axis=1),
    ]
    constants = {f"{name}_of_one": array for name, array in everyone.items()} | {
        "one": np.ones(1, np.int64)
    }
    graph = helper.make_graph(
        nodes,
        "marked",
        [helper.make_tensor_value_info("count", TensorProto.FLOAT, ["rows", 1])],
        [
            helper.make_tensor_value_info(spec.name, TYPES[spec.dtype], ["rows", None])
            for spec in SCHEMA.outputs
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def nan_above(limit: float) -> Callable[[onnx.ModelProto], None]:
    """Let the embeddings of rows with more than `limit` events be no numbers."""

    def spoil(model: onnx.ModelProto) -> None:
        _divert(model, "filled_embedding", "trained")
        model.graph.initializer.append(numpy_helper.from_array(np.array([[limit]], np.float32), "limit"))
        model.graph.initializer.append(numpy_helper.from_array(np.array([[np.nan]], np.float32), "nan"))
        model.graph.node.append(helper.make_node("Greater", ["count", "limit"], ["many"]))
        model.graph.node.append(helper.make_node("Where", ["many", "nan", "trained"], ["filled_embedding"]))

    return spoil


def too_wide(model: onnx.ModelProto) -> None:
    """Answer embeddings of twice the width."""
    _divert(model, "filled_embedding", "half")
    model.graph.node.append(helper.make_node("Concat", ["half", "half"], ["filled_embedding"], axis=1))


def shifted(model: onnx.ModelProto) -> None:
    """Answer plausible numbers that were never trained."""
    _divert(model, "filled_embedding", "trained")
    model.graph.node.append(helper.make_node("Neg", ["trained"], ["filled_embedding"]))


def other_items(model: onnx.ModelProto) -> None:
    """Answer items that were never chosen."""
    items = next(each for each in model.graph.initializer if each.name == "virtual_items_of_one")
    last = SCHEMA.item_count - 1 - numpy_helper.to_array(items)
    items.CopyFrom(numpy_helper.from_array(last, "virtual_items_of_one"))


def asked(counts: Sequence[float]) -> Tensors:
    """A row for each of `counts`, which is all that is known of it."""
    return SCHEMA.encode([SparseProfile(event_count=count) for count in counts], {})  # type: ignore[arg-type]


def _divert(model: onnx.ModelProto, output: str, name: str) -> None:
    """Let the node that answers `output` give it the name `name` instead."""
    node = next(node for node in model.graph.node if output in node.output)
    node.output[list(node.output).index(output)] = name
