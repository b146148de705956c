"""Where a training starts from: what an earlier one left, carried over to the items there are now."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from models.bundle import Bundle
from models.schema import Floats, Indices

WEIGHTS_FOLDER = "weights"
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Start:
    """What an earlier training left.

    Attributes:
        weights: trained parameters by the name of the fit, then of the parameter.
        item_vectors: [I, D] the space they were trained in.
        item_ids: the items of those rows.
    """

    weights: Mapping[str, Weights]
    item_vectors: Floats
    item_ids: list[str]

    def rows_of(self, item_ids: list[str]) -> Indices:
        """[I] row of each item of a catalogue, −1 for those that are new."""
        places = {item: row for row, item in enumerate(self.item_ids)}
        return np.array([places.get(item, -1) for item in item_ids], np.int64)


def save_weights(weights: Mapping[str, Weights], folder: Path) -> None:
    """Write one safetensors file a fit into `folder`, which is made."""
    folder.mkdir()
    for name, parameters in weights.items():
        save_file(
            {key: values.contiguous() for key, values in parameters.items()}, folder / f"{name}.safetensors"
        )


def start_from(bundle: Bundle) -> Start:
    """What the training of a bundle left in it; no weights if it is older than they are kept."""
    files = sorted((bundle.folder / WEIGHTS_FOLDER).glob("*.safetensors"))
    weights = {path.stem: load_file(path) for path in files}
    return Start(weights, bundle.item_vectors, bundle.item_ids)


def carry(model: nn.Module, weights: Weights, rows: Indices) -> None:
    """Put earlier weights into a model, wherever their shapes still agree.

    Args:
        rows: [I] the earlier row of each item, −1 for a new one, whose offset stays as it is.
    """
    places = torch.as_tensor(np.concatenate([[0], rows + 1]))  # row 0 is padding's, before and now
    embeddings = {
        f"{name}.weight" for name, part in model.named_modules() if isinstance(part, nn.Embedding)
    }
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = weights.get(name)
            if values is None:
                continue
            if (
                name in embeddings
                and len(parameter) == len(places)
                and values.shape[1:] == parameter.shape[1:]
            ):
                known = (places > 0) & (places < len(values))
                parameter[known] = values[places[known]]
            elif values.shape == parameter.shape:
                parameter.copy_(values)


def aligned(vectors: Floats, start: Start, rows: Indices) -> Floats:
    """Item vectors [I, D] turned so that known items lie as near as can be to where they lay.

    A turn changes no distance and no product, but what was trained in the earlier space still fits.

    Source: P. Schönemann, "A generalized solution of the orthogonal Procrustes problem",
    Psychometrika, 1966.
    """
    known = rows >= 0
    before = start.item_vectors[rows[known]]
    if before.shape[1] != vectors.shape[1]:
        return vectors
    left, _, right = np.linalg.svd(vectors[known].T @ before)
    return np.asarray(vectors @ (left @ right), np.float32)
