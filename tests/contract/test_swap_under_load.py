"""Swaps, canaries and shadows beneath real calls: every answer is of one version, and none fails."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.registry import Registry
from service.augment import Augmenter
from service.batch.batcher import Batcher
from service.call import Call, Options
from service.metrics import Metrics
from service.read.profiles import Reading
from service.versions.swap import ActiveModel
from tests.marked import SCHEMA, asked, marked_bundle
from tests.waiting import eventually

MARKS = {"v1": 1.0, "v2": 2.0, "v3": 3.0}


class Nobody:
    """A store that is not asked: profiles come with the calls."""

    def read(self, user_ids: object, call: Call) -> Reading:
        raise AssertionError("nothing is to be read")


class Serving:
    """Everything between a call and the model."""

    def __init__(self, root: Path) -> None:
        self.metrics = Metrics()
        for version, mark in MARKS.items():
            marked_bundle(root, version, mark)
        self.registry = Registry(root)
        self.registry.activate("v1")
        self.models = ActiveModel(self.registry, SCHEMA, metrics=self.metrics)
        self.batcher = Batcher(self.metrics)
        self.augmenter = Augmenter(self.models, Nobody(), None, self.batcher, self.metrics)
        self.models.shadow_by(
            lambda model, rows: self.augmenter.fill(model, rows, Options(), Call(priority="bulk"))
        )

    def has_answered_by(self, version: str) -> Callable[[], bool]:
        """Whether the version, now active, has answered since."""

        def answered() -> float:
            return self.metrics.model_rows.value(version, "active", "generator")

        before = answered()
        return lambda: answered() > before

    def close(self) -> None:
        self.models.close()
        self.batcher.close()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    serving = Serving(tmp_path)
    yield serving
    serving.close()


def test_answers_are_of_one_version_and_none_fails_while_models_change(serving: Serving) -> None:
    stop = threading.Event()

    def caller(number: int) -> set[str]:
        seen, counts = set(), [1 + (number + row) % 9 for row in range(1 + 5 * number)]
        while not stop.is_set():
            answer = serving.augmenter.packed(asked(counts), Options(), Call(request_id=f"u{number}"))
            mark = MARKS[answer.model_version]
            assert answer.embedding.tolist() == [[count, mark, mark, mark] for count in counts]
            assert {decision.rung for decision in answer.decisions} == {"generator"}
            seen.add(answer.model_version)
        return seen

    with ThreadPoolExecutor(4) as callers:
        results = [callers.submit(caller, number) for number in range(4)]
        for version, trial in (("v2", "v1"), ("v3", "v2"), ("v1", "v3"), ("v2", "v3"), ("v3", "v1")):
            serving.registry.set_canary(version, 0.5)
            assert serving.models.refresh()
            serving.registry.promote()
            serving.registry.set_shadow(trial, 0.5)
            assert serving.models.refresh()
            assert eventually(serving.has_answered_by(version))
        stop.set()
        assert set().union(*(result.result() for result in results)) == set(MARKS)


def test_a_shadow_is_compared_in_the_background_and_counted_apart(serving: Serving) -> None:
    serving.registry.set_shadow("v2", 1.0)
    assert serving.models.refresh()
    answer = serving.augmenter.packed(asked([1, 2, 3]), Options(), Call())
    assert answer.model_version == "v1"
    assert eventually(lambda: serving.metrics.shadow_rows.value("v2", "same") == 3)
    assert serving.metrics.shadow_overlap.count("v2") == 3
    assert serving.metrics.model_rows.value("v1", "active", "generator") == 3
    assert serving.metrics.model_rows.value("v2", "shadow", "generator") == 0
