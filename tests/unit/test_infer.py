"""Checks on what a rung answers, before anyone sees it."""

from collections.abc import Callable

import numpy as np
import pytest

from models.schema import SparseProfile, Tensors, TensorSchema
from service.fill.blend import ObservedItems, Scales
from service.fill.circuit import Circuit
from service.fill.infer import SOUND, BadFill, Filler, run_rung
from service.fill.ladder import Circuits
from tests.marked import CALIBRATION
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


def test_a_good_fill_passes() -> None:
    fill = run_rung(Session(), inputs(), SCHEMA)
    assert set(fill) == {spec.name for spec in SCHEMA.outputs}


def put(name: str, value: float) -> Callable[[Tensors], object]:
    return lambda fill: fill[name].__setitem__((0, 0), value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (put("fill_affinity", np.nan), "fill_affinity is not finite"),
        (put("fill_embedding", np.inf), "fill_embedding is not finite"),
        (put("virtual_items", 6), "index outside 0..5"),
        (put("virtual_items", -1), "index outside 0..5"),
        (put("virtual_weights", -0.1), "negative or more than 1"),
        (put("fill_affinity", 1.5), "negative or more than 1"),
        (put("fill_embedding", -2e3), "fill_embedding holds a value beyond 1000"),
        (lambda fill: fill.pop("fill_embedding"), "fill_embedding is nothing"),
        (lambda fill: fill.update(fill_affinity=np.zeros((1, 3))), r"fill_affinity is \(1, 3\), not"),
        (lambda fill: fill.update(fill_embedding=fill["fill_embedding"].astype(float)), "is of float64"),
        (lambda fill: fill["broken"], "the run failed"),
    ],
)
def test_a_bad_fill_is_refused(spoil: Callable[[Tensors], object], message: str) -> None:
    with pytest.raises(BadFill, match=message):
        run_rung(Session(spoil), inputs(), SCHEMA)


def filler(session: Session, circuits: Circuits | None = None) -> Filler:
    observed = ObservedItems(np.ones((len(ITEMS), CATALOGUE.embedding_width), np.float32))
    scales = Scales(CALIBRATION, "generator", 10)
    return Filler("generator", session, SCHEMA, observed, scales, circuits or Circuits())


def test_of_a_batch_only_the_rows_that_are_bad_are_lost() -> None:
    def spoil(fill: Tensors) -> None:
        fill["fill_embedding"][1, 2] = np.nan
        fill["virtual_items"][3, 0] = 99

    blocks = filler(Session(spoil)).run(inputs(5))
    assert blocks[SOUND].tolist() == [True, False, True, False, True]
    assert filler(Session()).run(inputs(5))[SOUND].all()


def test_a_batch_without_a_sound_row_fails() -> None:
    with pytest.raises(BadFill, match="not finite"):
        filler(Session(lambda fill: fill["fill_affinity"].fill(np.nan))).run(inputs())


def test_a_rung_that_fails_again_and_again_opens_its_circuit_and_a_success_closes_it() -> None:
    now = [0.0]
    circuits = Circuits(lambda: Circuit(failures=2, cool_down_s=5, clock=lambda: now[0]))
    bad, good = filler(Session(put("fill_affinity", np.nan)), circuits), filler(Session(), circuits)
    for opened in (False, True):
        bad.run(inputs())
        assert circuits.allows("generator") is not opened
    now[0] = 5.0
    assert circuits.allows("generator")
    assert not circuits.allows("generator")
    good.run(inputs())
    assert circuits.allows("generator")
    assert circuits.allows("global_prior")
