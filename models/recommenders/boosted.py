"""A boosted ranker: trees over how a profile and an item match, trained on warm profiles."""

import lightgbm
import numpy as np

from models.evaluation.metrics import best_items
from models.recommenders.port import Shown
from models.schema import Floats, Indices
from models.training.examples import Batch

_CANDIDATES = 300
_TREES = 80


class Boosted:
    """Reranks the items that popularity and embedding find, by features of the match.

    Source: C. Burges, "From RankNet to LambdaRank to LambdaMART", 2010, as LightGBM fits it.
    """

    def __init__(
        self, item_vectors: Floats, item_shares: Floats, popularity: Floats, sharpness: float
    ) -> None:
        self._vectors, self._shares = item_vectors, item_shares
        self._log_popularity = np.log(popularity + 1.0)
        self._sharpness = sharpness
        self._model: lightgbm.Booster | None = None

    def fit(self, batch: Batch, seed: int) -> None:
        """Learn from warm users as they were observed, and what they used later."""
        affinity, embedding = batch["affinity"].numpy(), batch["observed_embedding"].numpy()
        candidates = self._candidates(embedding, batch)
        labels = np.take_along_axis(batch["later"].numpy(), candidates, axis=1) > 0
        features = self._features(affinity, embedding, batch, candidates)
        data = lightgbm.Dataset(
            features.reshape(-1, features.shape[2]),
            labels.ravel().astype(int),
            group=[candidates.shape[1]] * len(labels),
        )
        options = {
            "objective": "lambdarank",
            "num_leaves": 15,
            "learning_rate": 0.1,
            "min_data_in_leaf": 50,
            "num_threads": 1,
            "seed": seed,
            "deterministic": True,
            "verbosity": -1,
            "lambdarank_truncation_level": 20,
        }
        self._model = lightgbm.train(options, data, _TREES)

    def scores(self, shown: Shown, mass: float) -> Floats:
        """[B, I]; what was no candidate scores below all that were."""
        if self._model is None:
            raise ValueError("the ranker has no trees yet: call fit first")
        candidates = self._candidates(shown.embedding, shown.batch)
        features = self._features(shown.affinity, shown.embedding, shown.batch, candidates)
        ranked = np.asarray(self._model.predict(features.reshape(-1, features.shape[2])))
        scores = np.full((len(candidates), len(self._vectors)), ranked.min() - 1, np.float32)
        np.put_along_axis(scores, candidates, ranked.reshape(candidates.shape).astype(np.float32), axis=1)
        return scores

    def _candidates(self, embedding: Floats, batch: Batch) -> Indices:
        scores = self._sharpness * embedding @ self._vectors.T + self._log_popularity
        return best_items(scores, batch["seen"].numpy() > 0, min(_CANDIDATES, len(self._vectors)))

    def _features(self, affinity: Floats, embedding: Floats, batch: Batch, items: Indices) -> Floats:
        """[B, candidates, features]."""
        vectors, shares = self._vectors[items], self._shares[items]
        match = np.einsum("bd,bid->bi", embedding, vectors)
        norm = np.linalg.norm(vectors, axis=2)
        length = np.linalg.norm(embedding, axis=1)[:, None]
        columns = [
            match,
            match / np.maximum(norm * length, 1e-9),
            np.broadcast_to(length, match.shape),
            norm,
            np.einsum("bc,bic->bi", affinity, shares),
            self._log_popularity[items],
            np.broadcast_to(batch["log_count"].numpy(), match.shape),
            np.broadcast_to(batch["mean_value"].numpy(), match.shape),
        ]
        return np.stack(columns, axis=2).astype(np.float32)
