"""Half precision is offered where it is good enough, and nowhere else."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from models.bundle import Bundle, BundleError, half_of
from models.opener import Opener
from models.samples import Samples
from service.versions.prepare import prepare
from service.versions.recorded import Recorded
from tests.marked import SCHEMA, asked, marked_bundle


def huge_within(model: onnx.ModelProto) -> None:
    """Go through numbers that 16 bits do not hold."""
    node = next(node for node in model.graph.node if "filled_embedding" in node.output)
    node.output[0] = "trained"
    for name, value in (("up", 1e7), ("down", 1e-7)):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    model.graph.node.append(helper.make_node("Mul", ["trained", "up"], ["huge"]))
    model.graph.node.append(helper.make_node("Mul", ["huge", "down"], ["filled_embedding"]))


def test_a_bundle_offers_its_learned_rung_in_half_precision(tmp_path: Path) -> None:
    bundle = marked_bundle(tmp_path, "v1", 0.5)
    half = half_of(bundle.rungs["generator"])
    assert half.name in bundle.manifest.sha256
    assert not half_of(bundle.rungs["global_prior"]).exists()
    model = prepare(bundle, SCHEMA, Opener(precision="fp16"), Recorded())
    assert model.sessions["generator"].run(asked([3]))["filled_embedding"].tolist() == [[3, 0.5, 0.5, 0.5]]


def test_a_model_that_half_precision_spoils_is_offered_in_full_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = marked_bundle(tmp_path, "v1", 0.5, huge_within)
    assert not half_of(bundle.rungs["generator"]).exists()
    assert "not offered in half precision" in caplog.text
    assert not list(bundle.folder.glob("*.partial"))
    prepare(bundle, SCHEMA, Opener(), Recorded())
    with pytest.raises(BundleError, match=r"generator"):
        prepare(Bundle.load(bundle.folder), SCHEMA, Opener(precision="fp16"), Recorded())


def test_half_precision_is_compared_less_strictly_but_compared(tmp_path: Path) -> None:
    bundle = marked_bundle(tmp_path, "v1", 0.5)
    samples = Samples.load(bundle.folder / "samples.npz")
    assert set(samples.answers) == {"generator", "segment_prior", "global_prior"}
    nearly = {name: array + 0.005 for name, array in samples.answers["generator"].items()}

    class Session:
        def run(self, tensors: object) -> object:
            return nearly | {"virtual_items": samples.answers["generator"]["virtual_items"]}

    samples.verify("generator", Session(), "fp16")  # type: ignore[arg-type]
    with pytest.raises(Exception, match="away from what it was"):
        samples.verify("generator", Session())  # type: ignore[arg-type]
