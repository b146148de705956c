"""The shadow: a version answers some requests once more, unseen, and is known before it serves."""

import logging
import queue
import random
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from models.schema import Floats, Indices, Tensors
from service.fill.decide import Decision
from service.metrics import Metrics
from service.versions.prepare import ServingModel

logger = logging.getLogger(__name__)

WAITING = 64
"""Requests that may wait to be answered once more; beyond them the shadow skips."""


class Answered(Protocol):
    """The parts of an answer that are compared. Embeddings are not: each bundle has its own space."""

    @property
    def affinity(self) -> Floats:
        """[B, C]."""
        ...

    @property
    def virtual_items(self) -> Indices:
        """[B, M], negative where nothing was filled."""
        ...

    @property
    def decisions(self) -> Sequence[Decision]:
        """Of every row."""
        ...


Ask = Callable[[ServingModel, Tensors], Answered]
"""Answers rows by a given model, after everyone who waits for an answer."""


class Shadow:
    """Answers requests a second time, in the background, and counts how far off the answers are.

    Args:
        ask: how to have rows answered.
        metrics: where comparisons are counted, under the shadow's version.
    """

    def __init__(self, ask: Ask, metrics: Metrics) -> None:
        self._ask, self._metrics = ask, metrics
        self._waiting: queue.Queue[tuple[ServingModel, Tensors, Answered] | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def offer(self, model: ServingModel, share: float, tensors: Tensors, answer: Answered) -> None:
        """Answer `tensors` by `model` too, later, with probability `share`. Never waits."""
        if random.random() >= share:
            return
        try:
            copied = {name: tensor.copy() for name, tensor in tensors.items()}
            self._waiting.put_nowait((model, copied, answer))
        except queue.Full:
            self._metrics.shadow_skipped.add(1, model.bundle.version)

    def close(self) -> None:
        """Finish what waits, and stop."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (request := self._waiting.get()) is not None:
            version = request[0].bundle.version
            try:
                self._answer(*request)
            except Exception:  # whatever it is, it is the shadow's failure and nobody else's
                self._metrics.shadow_failures.add(1, version)
                logger.exception("shadow %s failed", version)
            del request  # while nothing waits, no model is kept alive

    def _answer(self, model: ServingModel, tensors: Tensors, served: Answered) -> None:
        version, ours = model.bundle.version, self._ask(model, tensors)
        for distance in affinity_distance(served.affinity, ours.affinity).tolist():
            self._metrics.shadow_distance.observe(distance, version)
        for overlap in rank_overlap(served.virtual_items, ours.virtual_items):
            self._metrics.shadow_overlap.observe(overlap, version)
        for theirs, own in zip(served.decisions, ours.decisions, strict=True):
            self._metrics.shadow_rows.add(1, version, "same" if theirs.rung == own.rung else "other")


def affinity_distance(left: Floats, right: Floats) -> Floats:
    """[B] total variation between shares [B, C]: 0 for the same, 1 for nothing in common."""
    return np.asarray(np.abs(left - right).sum(axis=1) / 2, np.float32)


def rank_overlap(left: Indices, right: Indices) -> list[float]:
    """Rank-biased agreement of two lists [B, M] of items, in 0..1: the mean share in common of their tops.

    The first places count most. Rows that either side left unfilled are left out. After Fagin, Kumar and
    Sivakumar, "Comparing top k lists", 2003: the average overlap.
    """
    return [
        _average_overlap(ours.tolist(), theirs.tolist())
        for ours, theirs in zip(left, right, strict=True)
        if ours.min() >= 0 and theirs.min() >= 0
    ]


def _average_overlap(left: list[int], right: list[int]) -> float:
    depths = range(1, len(left) + 1)
    return sum(len({*left[:depth]} & {*right[:depth]}) / depth for depth in depths) / len(left)
