"""Recorded requests: a few of the last, copied, and batches of any size made of them."""

import numpy as np

from models.schema import Tensors
from service.versions.recorded import Recorded


def tensors(value: float, rows: int = 1) -> Tensors:
    return {"count": np.full((rows, 1), value, np.float32), "history_items": np.zeros((rows, 4), np.int64)}


def test_nothing_is_there_before_the_first() -> None:
    assert Recorded().batch(4) is None


def test_one_call_in_so_many_is_kept_and_the_newest_stay() -> None:
    recorded = Recorded(rows=3, every=2)
    for call in range(1, 13):
        recorded.note(tensors(call))
    batch = recorded.batch(3)
    assert batch is not None
    assert batch["count"][:, 0].tolist() == [8, 10, 12]


def test_what_is_kept_is_a_copy_of_a_few_rows() -> None:
    recorded = Recorded(every=1)
    asked = tensors(1, rows=1000)
    recorded.note(asked)
    asked["count"][:] = 2
    assert len(recorded) == 8
    batch = recorded.batch(64)
    assert batch is not None
    assert batch["count"].shape == (64, 1)
    assert (batch["count"] == 1).all()
    assert batch["history_items"].dtype == np.int64
