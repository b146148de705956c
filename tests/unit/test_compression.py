"""Compressed students: real attention in the file, 8 bits without batch effects, and gates that refuse."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from models.bundle import STUDENT, half_of, integers_of
from models.export.onnx import OPSET
from models.opener import Opener
from models.samples import Precision, example_inputs
from models.schema import Tensors
from models.session import OnnxSession
from models.students.gates import Agreement, GateError, calibration_inputs, compare_sessions
from models.students.quantise import QuantisationError, quantise
from tests import checkerboard
from tests.taught import bundle, ground


def exported() -> Path:
    """A student as a file."""
    return bundle().rungs[STUDENT]


def quantised() -> Path:
    """The same in 8 bits."""
    return integers_of(exported())


def test_the_file_has_real_attention() -> None:
    model = onnx.load(str(exported()))
    assert [opset.version for opset in model.opset_import if not opset.domain] == [OPSET]
    assert Counter(node.op_type for node in model.graph.node)["Attention"] == 2


def test_all_matrices_of_the_layers_are_in_8_bits() -> None:
    graph = onnx.load(str(quantised())).graph
    weights = [w for w in graph.initializer if w.data_type == onnx.TensorProto.INT8 and len(w.dims) == 2]
    assert len(weights) == 2 * 5


def test_an_8_bit_answer_does_not_depend_on_its_batch_mates() -> None:
    session, inputs = OnnxSession(quantised()), example_inputs(ground().schema, seed=1)
    together = session.run(inputs)
    for row in (0, 7, 63):
        alone = session.run({name: array[row : row + 1] for name, array in inputs.items()})
        np.testing.assert_allclose(
            alone["filled_embedding"][0], together["filled_embedding"][row], atol=2e-5
        )


@pytest.mark.parametrize("compressed", [integers_of, half_of])
def test_fewer_bits_rank_as_32_do(compressed: Callable[[Path], Path]) -> None:
    agreement = compare_sessions(OnnxSession(compressed(exported())), OnnxSession(exported()), ground())
    agreement.require("student")


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_server_opens_the_precision_it_is_told(precision: Precision) -> None:
    opener = Opener(precision=precision)
    bundle().verify(STUDENT, opener.open(STUDENT, exported()), opener.precision_of(STUDENT))
    assert opener.precision_of("global_prior") == "fp32"
    assert opener.precision_of("generator") == ("fp16" if precision == "fp16" else "fp32")


def test_a_student_that_ranks_otherwise_is_refused() -> None:
    class Reversed:
        """Offers what the file would offer last."""

        def run(self, tensors: Tensors) -> Tensors:
            answer = OnnxSession(exported()).run(tensors)
            return {**answer, "virtual_items": checkerboard.ITEMS - 1 - answer["virtual_items"]}

    agreement = compare_sessions(Reversed(), OnnxSession(exported()), ground())
    with pytest.raises(GateError, match="loses"):
        agreement.require("student.int8")
    with pytest.raises(GateError):
        Agreement(float("nan"), 1.0).require("student")


def test_what_has_no_layers_is_not_quantised(tmp_path: Path) -> None:
    prior = bundle().rungs["segment_prior"]
    with pytest.raises(QuantisationError, match="layers"):
        quantise(prior, tmp_path / "never.onnx", calibration_inputs(ground(), (0,)))
    assert not (tmp_path / "never.onnx").exists()
