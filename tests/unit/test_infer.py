"""Checks on what a rung answers, before anyone sees it."""

from collections.abc import Callable

import numpy as np
import pytest

from models.schema import SparseProfile, Tensors, TensorSchema
from service.fill.circuit import Circuit
from service.fill.infer import BadFill, Filler, run_rung
from service.fill.ladder import Circuits
from tests.shop import CATALOGUE, ITEMS

SCHEMA = TensorSchema.of(CATALOGUE, ITEMS)


class Session:
    """Answers with good blocks, changed by `spoil`."""

    def __init__(self, spoil: Callable[[Tensors], object] = lambda blocks: None) -> None:
        self._spoil = spoil

    def run(self, tensors: Tensors) -> Tensors:
        rows = len(tensors["count"])
        blocks = {spec.name: np.zeros((rows, spec.width), spec.dtype) for spec in SCHEMA.outputs}
        blocks["sound"][:] = 1
        self._spoil(blocks)
        return blocks


def inputs(rows: int = 2) -> Tensors:
    return SCHEMA.encode([SparseProfile()] * rows, {})


def test_good_blocks_pass() -> None:
    blocks = run_rung(Session(), inputs(), SCHEMA)
    assert set(blocks) == {spec.name for spec in SCHEMA.outputs}


def put(name: str, value: float) -> Callable[[Tensors], object]:
    return lambda blocks: blocks[name].__setitem__((0, 0), value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (put("filled_affinity", np.nan), "affinity is not finite"),
        (put("filled_embedding", np.inf), "embedding is not finite"),
        (put("virtual_items", 6), "index outside 0..5"),
        (put("virtual_items", -1), "index outside 0..5"),
        (put("virtual_weights", -0.1), "is negative"),
        (put("sound", 0), "calls a row unsound"),
        (lambda blocks: blocks.pop("filled_embedding"), "embedding is nothing"),
        (lambda blocks: blocks.update(filled_affinity=np.zeros((1, 3))), r"affinity is \(1, 3\), not"),
        (
            lambda blocks: blocks.update(filled_embedding=blocks["filled_embedding"].astype(float)),
            "is of float64",
        ),
        (lambda blocks: blocks["broken"], "the run failed"),
    ],
)
def test_bad_blocks_are_refused(spoil: Callable[[Tensors], object], message: str) -> None:
    with pytest.raises(BadFill, match=message):
        run_rung(Session(spoil), inputs(), SCHEMA)


def filler(session: Session, circuits: Circuits | None = None) -> Filler:
    return Filler("generator", session, SCHEMA, circuits or Circuits())


def test_of_a_batch_only_the_rows_that_are_bad_are_lost() -> None:
    def spoil(blocks: Tensors) -> None:
        blocks["filled_embedding"][1, 2] = np.nan  # the model's word does not stand against what is seen
        blocks["sound"][3] = 0

    blocks = filler(Session(spoil)).run(inputs(5))
    assert blocks["sound"][:, 0].tolist() == [1, 0, 1, 0, 1]
    assert filler(Session()).run(inputs(5))["sound"].all()


def test_a_batch_without_a_sound_row_fails() -> None:
    with pytest.raises(BadFill, match="not finite"):
        filler(Session(lambda blocks: blocks["filled_affinity"].fill(np.nan))).run(inputs())


def test_a_rung_that_fails_again_and_again_opens_its_circuit_and_a_success_closes_it() -> None:
    now = [0.0]
    circuits = Circuits(lambda: Circuit(failures=2, cool_down_s=5, clock=lambda: now[0]))
    bad, good = filler(Session(put("filled_affinity", np.nan)), circuits), filler(Session(), circuits)
    for opened in (False, True):
        bad.run(inputs())
        assert circuits.allows("generator") is not opened
    now[0] = 5.0
    assert circuits.allows("generator")
    assert not circuits.allows("generator")
    good.run(inputs())
    assert circuits.allows("generator")
    assert circuits.allows("global_prior")
