"""Compressed students: real attention in the file, 8 bits without batch effects, and gates that refuse."""

from collections import Counter
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import onnx
import pytest

from models.export.onnx import OPSET, export
from models.samples import example_inputs
from models.schema import Tensors
from models.session import OnnxSession
from models.students.distil import untrained
from models.students.gates import Agreement, GateError, calibration_inputs, compare_sessions
from models.students.quantise import QuantisationError, quantise
from models.training.ground import Ground
from tests import checkerboard


def ground() -> Ground:
    return checkerboard.trained().ground


@cache
def exported() -> Path:
    """A student whose readout says something, as a file."""
    path = Path(mkdtemp(prefix="kindling-students-")) / "student.onnx"
    student = untrained(ground())
    rng = np.random.default_rng(0)
    for layer in (student.share_shift, student.embedding_shift):
        layer.weight.data.copy_(layer.weight.data.new_tensor(rng.normal(0, 0.03, layer.weight.shape)))
    names = ("fill_affinity", "fill_embedding", "virtual_items", "virtual_weights")
    export(
        ground().rung(student.fold_items()),
        path,
        example_inputs(ground().schema),
        names,
        ranked={"virtual_items": "virtual_weights"},
    )
    return path


@cache
def quantised() -> Path:
    target = exported().with_suffix(".int8.onnx")
    quantise(exported(), target, calibration_inputs(ground(), (0, 1, 3)))
    return target


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
        np.testing.assert_allclose(alone["fill_embedding"][0], together["fill_embedding"][row], atol=2e-5)


def test_8_bits_rank_as_32_do() -> None:
    agreement = compare_sessions(OnnxSession(quantised()), OnnxSession(exported()), ground())
    agreement.require("student")


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
    prior = checkerboard.bundle().rungs["segment_prior"]
    with pytest.raises(QuantisationError, match="layers"):
        quantise(prior, tmp_path / "never.onnx", calibration_inputs(ground(), (0,)))
    assert not (tmp_path / "never.onnx").exists()
