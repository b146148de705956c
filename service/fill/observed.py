"""What users who need no fill are answered: their own evidence, as it stands."""

import numpy as np

from models.schema import BLOCKS, Floats, Tensors, TensorSchema
from service.fill.blocks import NO_ITEM

_LEAST = np.finfo(np.float32).tiny


class Observed:
    """Answers with what was observed, and no virtual interactions.

    Args:
        item_vectors: [I, D]; histories are embedded as the weighted mean of theirs.
        schema: of the tensors.
    """

    def __init__(self, item_vectors: Floats, schema: TensorSchema) -> None:
        items, width = item_vectors.shape
        # Row 0 is where padding points and adds nothing; the last column adds up the weights of the rest.
        self._vectors = np.zeros((items + 1, width + 1), np.float32)
        self._vectors[1:, :width] = item_vectors
        self._vectors[1:, width] = 1
        self._virtual_length = schema.virtual_length

    def blocks(self, tensors: Tensors) -> Tensors:
        """The blocks of B rows, by name, as rungs answer them."""
        embedding = self.embed(tensors)
        rows = len(embedding)
        return {
            "filled_affinity": tensors["affinity"],
            "filled_embedding": embedding,
            "virtual_items": np.full((rows, self._virtual_length), NO_ITEM, np.int64),
            "virtual_weights": np.zeros((rows, self._virtual_length), np.float32),
            "confidence": np.ones((rows, len(BLOCKS)), np.float32),
            "observed_weight": np.ones((rows, 2), np.float32),
        }

    def embed(self, tensors: Tensors) -> Floats:
        """[B, D] weighted mean of the item vectors of each history; zeros where there is none."""
        vectors = self._vectors.take(tensors["history_items"], axis=0)  # [B, H, D + 1]
        added = np.matmul(tensors["history_weights"][:, None, :], vectors)[:, 0, :]
        return np.asarray(added[:, :-1] / np.maximum(added[:, -1:], _LEAST), np.float32)
