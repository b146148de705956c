"""The ranker as it serves: rows of features in, items and scores out. ONNX Runtime and numpy only."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from models.bundle import Bundle
from models.recommenders.features import Mode, Row, features_of
from models.schema import Floats, Tensors
from models.session import InferenceSession, OnnxSession, Provider

TOWER_FILE = "user_tower.onnx"
MATRIX_FILE = "item_matrix.npy"


class Ranked(NamedTuple):
    """An item and its score; scores compare within one user."""

    item_id: str
    score: float


class Ranker:
    """Ranks all items for users given by rows of `recommender_v1`; never trained again.

    Raises:
        RuntimeProviderError: ONNX Runtime cannot run on `provider`.
    """

    def __init__(self, bundle: Bundle, provider: Provider = "cpu") -> None:
        self.bundle = bundle
        self._tower: InferenceSession = OnnxSession(bundle.recommender / TOWER_FILE, provider)
        self._matrix: Floats = np.load(bundle.recommender / MATRIX_FILE, allow_pickle=False)  # [I, T]

    def scores(self, features: Tensors) -> Floats:
        """[B, I] score of every item, for user tower inputs."""
        return np.asarray(self._tower.run(features)["user_vector"] @ self._matrix.T, np.float32)

    def rank(
        self,
        rows: Sequence[Row],
        mode: Mode,
        top_n: int = 20,
        exclude: Sequence[Collection[str]] | None = None,
    ) -> list[list[Ranked]]:
        """The best `top_n` items of each row, best first, without the items of its recent events.

        Args:
            rows: features by name, as `get_online_features(...).to_dict()` has them for one user each.
            mode: rank by observed features alone, or by the filled ones where they are current.
            exclude: more items to leave out, one collection a row.
        """
        if not rows:
            return []
        bundle = self.bundle
        features = features_of(
            rows,
            mode,
            bundle.schema,
            bundle.item_index,
            bundle.item_vectors,
            bundle.version,
            bundle.manifest.mean_value,
        )
        scores = self.scores(features)
        answers = []
        for position, row in enumerate(rows):
            seen = {*(row.get("recent_items") or []), *(exclude[position] if exclude else ())}
            struck = [bundle.item_index[item] for item in seen if item in bundle.item_index]
            mine = scores[position]
            mine[struck] = -np.inf
            order = np.argsort(-mine, kind="stable")[: min(top_n, len(mine) - len(struck))]
            answers.append([Ranked(bundle.item_ids[item], float(mine[item])) for item in order])
        return answers
