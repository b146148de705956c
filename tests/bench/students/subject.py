"""A student as large as MovieLens 100K asks for, of drawn weights: time does not depend on taste."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from feature_repo.catalogue import Attribute, Catalogue, Items
from models.export.onnx import export
from models.generators.prior import Prior
from models.generators.rung import Rung
from models.samples import example_inputs
from models.schema import Floats, Tensors, TensorSchema
from models.students.student import SIZES, SizeName, Student

ITEMS, CATEGORIES, WIDTH = 1682, 19, 64
ATTRIBUTES = (
    Attribute("age", "number", edges=(18.0, 25.0, 35.0, 45.0, 55.0)),
    Attribute("gender", "category", values=("M", "F")),
    Attribute("occupation", "category", values=tuple(f"o{place}" for place in range(21))),
)
OUTPUTS = ("fill_affinity", "fill_embedding", "virtual_items", "virtual_weights")
RANKED = {"virtual_items": "virtual_weights"}
_COLD = 10


def schema() -> TensorSchema:
    """Of a catalogue as large as MovieLens 100K's."""
    names = tuple(f"c{place}" for place in range(CATEGORIES))
    catalogue = Catalogue("movielens-sized", names, ATTRIBUTES, embedding_width=WIDTH)
    ids = [str(place) for place in range(ITEMS)]
    return TensorSchema.of(catalogue, Items(ids, ids, ids, [()] * ITEMS))


def write_student(path: Path, size: SizeName, seed: int = 0) -> None:
    """Export a student of that size, with all that a rung does around it.

    Raises:
        ExportError: the file answers differently from torch.
    """
    torch.manual_seed(seed)
    rng, shape = np.random.default_rng(seed), schema()
    slots = shape.catalogue.attribute_width
    vectors: Floats = rng.normal(0, WIDTH**-0.5, (ITEMS, WIDTH)).astype(np.float32)
    mean = np.concatenate([np.full(CATEGORIES, 1 / CATEGORIES), rng.normal(0, 0.1, WIDTH)])
    effects = rng.normal(0, 0.003, (slots, CATEGORIES + WIDTH))
    groups = [attribute.width for attribute in ATTRIBUTES]
    student = Student(Prior(mean, effects, CATEGORIES), vectors * WIDTH**0.5, groups, WIDTH, SIZES[size])
    for layer in (student.share_shift, student.embedding_shift):
        torch.nn.init.normal_(layer.weight, std=0.05)
    popularity = rng.zipf(1.5, ITEMS).clip(max=500).astype(np.float32)
    rung = Rung(student.fold_items(), vectors, popularity, 8.0, shape.virtual_length).eval()
    export(rung, path, example_inputs(shape), OUTPUTS, ranked=RANKED)


def cold_users(rows: int, seed: int = 0) -> Tensors:
    """Inputs of users with fewer than ten events, as are filled."""
    shape, rng = schema(), np.random.default_rng(seed)
    inputs = example_inputs(shape, rows, seed)
    counts = rng.integers(0, _COLD, rows)
    for row, count in enumerate(counts.tolist()):
        for name in ("history_items", "history_weights"):
            inputs[name][row] = 0
        inputs["history_items"][row, :count] = rng.choice(ITEMS, count, replace=False) + 1
        inputs["history_weights"][row, :count] = np.sort(rng.uniform(0.2, 1, count))[::-1]
    inputs["count"][:, 0] = counts
    return inputs


def overlap(ours: Tensors, theirs: Tensors, depth: int = 10) -> float:
    """Mean share of the first items that two answers have in common."""
    pairs: Sequence[tuple[list[int], list[int]]] = list(
        zip(ours["virtual_items"].tolist(), theirs["virtual_items"].tolist(), strict=True)
    )
    return float(np.mean([len({*a[:depth]} & {*b[:depth]}) / depth for a, b in pairs]))
