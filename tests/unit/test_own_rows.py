"""Nobody is ever answered with another's rows: a hundred thousand ids through every door at once."""

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from models.bundle import Bundle
from models.schema import SparseProfile, Tensors
from service.augment import Answer, Augmenter
from service.batch.batcher import Batcher
from service.call import Call, Options
from service.errors import Cancelled, DeadlineTooShort
from service.fill.decide import Policy
from service.fill.ladder import Pace
from service.metrics import Metrics
from service.read.cache import EnrichedCache
from service.read.profiles import Reading
from service.versions.prepare import ServingModel
from tests.marked import SCHEMA, marked_bundle

USERS, IDS, THREADS = 30_000, 100_000, 6


class Whose:
    """Answers whose row it is: embeddings begin with the user's number, their event's weight."""

    def run(self, tensors: Tensors) -> Tensors:
        number = tensors["history_weights"][:, 0]
        rows = len(number)
        fill = {spec.name: np.zeros((rows, spec.width), spec.dtype) for spec in SCHEMA.outputs}
        fill["sound"][:] = 1
        fill["filled_embedding"][:, 0], fill["filled_embedding"][:, 1] = number // 1000, number % 1000
        return fill


class World:
    """A store in which everyone did one thing, and a model that knows whose rows it is given."""

    def __init__(self, bundle: Bundle) -> None:
        policy = Policy(frozenset(bundle.rungs), bundle.calibration, bundle.cold_below, Pace())
        self.model = ServingModel(bundle, dict.fromkeys(bundle.rungs, Whose()), policy)
        self.offered: list[tuple[list[str], Answer]] = []

    def choose(self, key: str) -> ServingModel:
        return self.model

    def observe(self, model: ServingModel, tensors: Tensors, answer: Answer, seconds: float) -> None:
        pass

    def read(self, user_ids: Sequence[str], call: Call) -> Reading:
        # Every third user declared nothing more, so that rungs mix within a request.
        profiles = [
            SparseProfile(
                {"city": "York"} if int(user) % 3 else {},
                int(user) % 10 and 1,
                items=["green"],
                weights=[float(user)],
            )
            for user in user_ids
        ]
        return Reading(profiles, [1] * len(user_ids), False)

    def offer(
        self, user_ids: Sequence[str], answer: Answer, bundle: Bundle, versions: Sequence[int | None]
    ) -> None:
        self.offered.append((list(user_ids), answer))


def strangers(users: Sequence[str], answer: Answer) -> int:
    """Rows of `answer` that are another's."""
    numbers = answer.embedding[:, 0].astype(int) * 1000 + answer.embedding[:, 1].astype(int)
    return int((numbers != np.array(users, int)).sum())


def test_of_shuffled_and_duplicated_ids_none_is_answered_with_anothers_row(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    metrics, world = Metrics(), World(marked_bundle(tmp_path_factory.mktemp("bundles"), "v1", 0))
    batcher = Batcher(metrics)
    cache: EnrichedCache[Answer] = EnrichedCache(metrics)
    augmenter = Augmenter(world, world, world, batcher, metrics, cache)
    answered, refused, wrong = [0] * THREADS, [0] * THREADS, [0] * THREADS

    def work(thread: int) -> None:
        rng = np.random.default_rng(thread)
        left = IDS // THREADS
        while left > 0:
            size = 1 if rng.random() < 0.5 else min(int(rng.integers(2, 150)), left)
            users = [str(number) for number in rng.integers(0, USERS if size > 1 else 50, size)]
            left -= size
            call = Call.within(
                float(rng.choice([0.0005, 0.005, 1.0, 30.0])), lambda: bool(rng.random() < 0.9)
            )
            call.priority = "bulk" if rng.random() < 0.4 else "interactive"
            try:
                answer = augmenter.users(users, Options(), call)
            except (Cancelled, DeadlineTooShort):
                refused[thread] += size
                continue
            answered[thread] += size
            wrong[thread] += strangers(users, answer)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    batcher.close()
    assert sum(answered) + sum(refused) >= IDS - THREADS
    assert sum(answered) > IDS / 2
    assert sum(refused) > 0
    assert metrics.dropped.value("cancelled") > 0
    assert sum(wrong) == 0
    assert sum(strangers(users, answer) for users, answer in world.offered) == 0
