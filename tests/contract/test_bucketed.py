"""Padded to fixed batch sizes, with buffers of its own, a model answers as it does without."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from models.bucketed import BucketedSession
from models.session import OnnxSession
from tests.marked import asked, marked_bundle


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return marked_bundle(tmp_path_factory.mktemp("bundles"), "v1", 7.0).rungs["generator"]


@pytest.fixture(scope="module")
def session(model: Path) -> BucketedSession:
    return BucketedSession(model, "cpu")


@pytest.mark.parametrize("rows", [1, 2, 3, 63, 64, 65, 200])
def test_every_batch_size_is_answered_as_the_plain_session_does(
    session: BucketedSession, model: Path, rows: int
) -> None:
    inputs = asked(range(rows))
    ours, theirs = session.run(inputs), OnnxSession(model).run(inputs)
    assert ours.keys() == theirs.keys()
    for name, answer in theirs.items():
        np.testing.assert_array_equal(ours[name], answer)
        assert ours[name].dtype == answer.dtype


def test_an_answer_is_the_callers_own(session: BucketedSession) -> None:
    first = session.run(asked([1, 2, 3]))
    before = first["filled_embedding"].copy()
    session.run(asked([4, 5, 6]))
    np.testing.assert_array_equal(first["filled_embedding"], before)


def test_threads_share_the_buffers_and_not_their_rows(session: BucketedSession) -> None:
    start = threading.Barrier(4)

    def caller(number: int) -> None:
        start.wait(20)
        for turn in range(50):
            counts = [number, turn, number]
            assert session.run(asked(counts))["filled_embedding"][:, 0].tolist() == counts

    with ThreadPoolExecutor(4) as callers:
        list(callers.map(caller, range(4)))
