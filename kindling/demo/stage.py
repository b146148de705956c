"""One stage of the demo: every cold user has shown k events, is augmented, and is ranked for three ways."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from feast import FeatureService, FeatureStore

from feature_repo.catalogue import Items
from kindling.client import Client
from kindling.demo.audience import Audience
from kindling.demo.outcome import METRICS, SUBJECTS, Example, Outcome, Ranked
from models.evaluation.ranking import ndcg, recall
from models.recommenders.ranker import Ranker

DEADLINE_MS = 2_000.0
DEPTH = 20
EXAMPLE_K = 1
EXAMPLE_DEPTH = 10

Rows = list[dict[str, Any]]
WaitUntil = Callable[[Callable[[], bool], str, float], None]


@dataclass(frozen=True)
class Stage:
    """What every stage works with.

    Attributes:
        store: the feature store a recommender reads.
        service: `recommender_v1`, resolved.
        client: of the running server.
        ranker: frozen, trained on warm users.
        wait_until: returns when its condition holds, watching the processes meanwhile.
    """

    store: FeatureStore
    service: FeatureService
    client: Client
    ranker: Ranker
    items: Items
    audience: Audience
    wait_until: WaitUntil

    def measure(self, k: int, outcome: Outcome) -> None:
        """Augment, read, rank and score everyone after `k` events."""
        users = self.audience.user_ids
        for user in users:
            started = time.perf_counter()
            filled = self.client.augment(user, deadline_ms=DEADLINE_MS)
            outcome.rungs.setdefault(k, Counter())[filled.rung] += 1
            outcome.augment_ms.append((time.perf_counter() - started) * 1e3)
        self.wait_until(lambda: self._written_back(users, k), f"writing back {len(users)} profiles", 30.0)
        rows = self.read(users)
        lists = {
            "raw": self.ranker.rank(rows, "raw", DEPTH),
            "count_shrinkage": self.ranker.rank(self._shrunk(users, rows), "enriched", DEPTH),
            "kindling": self.ranker.rank(rows, "enriched", DEPTH),
        }
        later = [self.audience.later_items(user, k) for user in users]
        for subject in SUBJECTS:
            ranked = [[item.item_id for item in own] for own in lists[subject]]
            for metric, scored in zip(
                METRICS,
                (
                    [ndcg(own, wanted, 10) for own, wanted in zip(ranked, later, strict=True)],
                    [recall(own, wanted, 20) for own, wanted in zip(ranked, later, strict=True)],
                ),
                strict=True,
            ):
                outcome.scores[k, subject, metric] = np.array(scored)
        if k == EXAMPLE_K:
            outcome.example = self._example(k, outcome, lists)

    def read(self, users: Sequence[str]) -> Rows:
        """Rows of `recommender_v1`, as any recommender gets them."""
        return read_rows(self.store, self.service, users)

    def _written_back(self, users: Sequence[str], k: int) -> bool:
        version = self.ranker.bundle.version
        refs = ["user_augmented:observed_count", "user_augmented:model_version"]
        rows = read_rows(self.store, refs, users)
        return all(row["observed_count"] == k and row["model_version"] == version for row in rows)

    def _shrunk(self, users: Sequence[str], rows: Rows) -> Rows:
        """The same rows, filled by the segment prior alone: count-shrinkage towards the segment mean."""
        reply = self.client.augment_batch(
            users, rungs=["segment_prior"], dry_run=True, deadline_ms=DEADLINE_MS * 5
        )
        affinity = np.frombuffer(reply.affinity, "<f4").reshape(reply.rows, -1).tolist()
        embedding = np.frombuffer(reply.embedding, "<f4").reshape(reply.rows, -1).tolist()
        return [
            row | {"filled_affinity": affinity[index], "user_embedding": embedding[index]}
            for index, row in enumerate(rows)
        ]

    def _example(self, k: int, outcome: Outcome, lists: Mapping[str, Sequence[Any]]) -> Example:
        """The user whose gain over raw features is the median one."""
        gains = outcome.scores[k, "kindling", METRICS[0]] - outcome.scores[k, "raw", METRICS[0]]
        position = int(np.argsort(gains, kind="stable")[len(gains) // 2])
        user = self.audience.user_ids[position]
        later = self.audience.later_items(user, k)
        sign_up = self.audience.sign_ups.get(user)
        declared = (sign_up.attributes or {}) if sign_up else {}
        categories = self.ranker.bundle.schema.catalogue.categories
        return Example(
            user,
            {
                name: f"{value:g}" if isinstance(value, float) else str(value)
                for name, value in declared.items()
            },
            [self.items.titles[self.items.index[item]] for item in self.audience.shown_items(user, k)],
            {
                subject: [
                    Ranked(
                        self.items.titles[self.items.index[item.item_id]],
                        [
                            categories[index]
                            for index in self.items.categories[self.items.index[item.item_id]]
                        ],
                        item.item_id in later,
                    )
                    for item in lists[subject][position][:EXAMPLE_DEPTH]
                ]
                for subject in SUBJECTS
            },
        )


def read_rows(store: FeatureStore, features: FeatureService | list[str], users: Sequence[str]) -> Rows:
    """One dict of features a user, in the order asked for."""
    columns = store.get_online_features(features, [{"user_id": user} for user in users]).to_dict()
    return [{name: values[index] for name, values in columns.items()} for index in range(len(users))]
