"""Checks on what a rung answers, before anyone sees it."""

from collections.abc import Callable

import numpy as np
import pytest

from models.schema import SparseProfile, Tensors, TensorSchema
from service.infer import BadFill, fill_rows, run_rung
from service.ladder import Pace
from tests.shop import CATALOGUE, ITEMS

SCHEMA = TensorSchema.of(CATALOGUE, ITEMS)


class Session:
    """Answers with a good fill, changed by `spoil`."""

    def __init__(self, spoil: Callable[[Tensors], object] = lambda fill: None) -> None:
        self._spoil = spoil

    def run(self, tensors: Tensors) -> Tensors:
        rows = len(tensors["count"])
        fill = {spec.name: np.zeros((rows, spec.width), spec.dtype) for spec in SCHEMA.outputs}
        self._spoil(fill)
        return fill


def inputs(rows: int = 2) -> Tensors:
    return SCHEMA.encode([SparseProfile()] * rows, {})


def test_a_good_fill_passes_and_its_time_is_noted() -> None:
    pace = Pace()
    fill = fill_rows({"generator": Session()}, "generator", inputs(), SCHEMA, pace)
    assert set(fill) == {spec.name for spec in SCHEMA.outputs}
    assert pace.p99_ms("generator") > 0


def put(name: str, value: float) -> Callable[[Tensors], object]:
    return lambda fill: fill[name].__setitem__((0, 0), value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (put("fill_affinity", np.nan), "fill_affinity is not finite"),
        (put("fill_embedding", np.inf), "fill_embedding is not finite"),
        (put("virtual_items", 6), "index outside 0..5"),
        (put("virtual_items", -1), "index outside 0..5"),
        (put("virtual_weights", -0.1), "negative"),
        (lambda fill: fill.pop("fill_embedding"), "fill_embedding is nothing"),
        (lambda fill: fill.update(fill_affinity=np.zeros((1, 3))), "fill_affinity is"),
        (lambda fill: fill["broken"], "the run failed"),
    ],
)
def test_a_bad_fill_is_refused(spoil: Callable[[Tensors], object], message: str) -> None:
    with pytest.raises(BadFill, match=message):
        run_rung(Session(spoil), inputs(), SCHEMA)
