"""What every rung promises, whatever it is made of: shapes, sums, and that a row is answered on its own."""

import numpy as np
import pytest
import torch

from models.bundle import RUNGS, STUDENT, Bundle, BundleError
from models.export.onnx import BATCHES, TOLERANCE, parity
from models.samples import example_inputs
from models.schema import Tensors
from models.session import OnnxSession
from tests import checkerboard, taught


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return checkerboard.bundle()


@pytest.fixture(scope="module", params=(STUDENT, *RUNGS))
def rung(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def holder(rung: str) -> Bundle:
    """The bundle that holds the rung: only one with lessons has a student."""
    return taught.bundle() if rung == STUDENT else checkerboard.bundle()


@pytest.fixture(scope="module")
def session(holder: Bundle, rung: str) -> OnnxSession:
    return OnnxSession(holder.rungs[rung])


@pytest.fixture
def inputs(bundle: Bundle) -> Tensors:
    return example_inputs(bundle.schema, rows=64, seed=1)


def rows(tensors: Tensors, chosen: slice | list[int]) -> Tensors:
    return {name: array[chosen] for name, array in tensors.items()}


def assert_same(ours: Tensors, theirs: Tensors) -> None:
    """Equal up to rounding; items of equal weight may change places."""
    for name in ("filled_affinity", "filled_embedding", "virtual_weights"):
        np.testing.assert_allclose(ours[name], theirs[name], atol=2e-5)


@pytest.mark.parametrize("size", BATCHES)
def test_outputs_have_the_names_types_and_widths_of_the_schema(
    bundle: Bundle, session: OnnxSession, inputs: Tensors, size: int
) -> None:
    answer = session.run(rows(inputs, slice(size)))
    assert list(answer) == [spec.name for spec in bundle.schema.outputs]
    for spec in bundle.schema.outputs:
        assert answer[spec.name].shape == (size, spec.width)
        assert answer[spec.name].dtype == spec.dtype


def test_shares_sum_to_one_and_none_is_negative(session: OnnxSession, inputs: Tensors) -> None:
    shares = session.run(inputs)["filled_affinity"].astype(np.float64)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert (shares >= 0).all()


def test_virtual_items_are_items_each_once_and_never_of_the_history(
    bundle: Bundle, session: OnnxSession, inputs: Tensors
) -> None:
    answer = session.run(inputs)
    for history, virtual in zip(inputs["history_items"], answer["virtual_items"], strict=True):
        offered = set(virtual.tolist())
        assert len(offered) == bundle.schema.virtual_length
        assert offered <= set(range(bundle.schema.item_count))
        assert not offered & {item - 1 for item in history.tolist()}


def test_virtual_weights_descend_and_sum_to_what_evidence_leaves(
    holder: Bundle, rung: str, session: OnnxSession, inputs: Tensors
) -> None:
    weights = session.run(inputs)["virtual_weights"].astype(np.float64)
    counts = np.minimum(inputs["count"][:, 0], holder.cold_below - 1).astype(int)
    observed = [holder.calibration.observed_weight("virtual_items", count, rung) for count in counts]
    np.testing.assert_allclose(weights.sum(axis=1), 1 - np.array(observed), atol=1e-5)
    assert (np.diff(weights, axis=1) <= 0).all()


def test_every_row_is_sound_and_what_was_observed_gains_weight(
    holder: Bundle, rung: str, session: OnnxSession, inputs: Tensors
) -> None:
    answer = session.run(inputs)
    assert answer["sound"].all()
    order = np.argsort(inputs["count"][:, 0], kind="stable")
    for block in range(2):
        weights = answer["observed_weight"][order, block]
        assert (np.diff(weights[weights > 0]) >= 0).all()
    expected = [holder.calibration.confidence(rung, "embedding", count) for count in range(5)]
    found = answer["confidence"][[int(np.argmax(inputs["count"] == count)) for count in range(5)], 1]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_same_question_has_the_same_answer(session: OnnxSession, inputs: Tensors) -> None:
    first, second = session.run(inputs), session.run(inputs)
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])


def test_the_order_of_the_history_says_nothing(session: OnnxSession, inputs: Tensors) -> None:
    order = np.random.default_rng(2).permutation(inputs["history_items"].shape[1])
    shuffled = dict(inputs)
    for name in ("history_items", "history_weights"):
        shuffled[name] = np.ascontiguousarray(inputs[name][:, order])
    assert_same(session.run(inputs), session.run(shuffled))


def test_what_stands_in_the_padding_says_nothing(session: OnnxSession, inputs: Tensors) -> None:
    dirty = dict(inputs)
    dirty["history_weights"] = np.where(inputs["history_items"] > 0, inputs["history_weights"], 7).astype(
        np.float32
    )
    assert_same(session.run(inputs), session.run(dirty))


def test_batch_mates_do_not_change_a_row(session: OnnxSession, inputs: Tensors) -> None:
    together = session.run(inputs)
    for row in (0, 5, 31, 63):
        alone = session.run(rows(inputs, [row]))
        assert_same(alone, rows(together, [row]))


@pytest.mark.parametrize("size", BATCHES)
def test_the_file_answers_as_torch_does(holder: Bundle, rung: str, session: OnnxSession, size: int) -> None:
    inputs = example_inputs(holder.schema, seed=3)
    names = [spec.name for spec in holder.schema.outputs]
    trained = (taught if rung == STUDENT else checkerboard).trained()
    module = trained.answering(rung, trained.rungs[rung])
    assert parity(module, session, inputs, names, size, {"virtual_items": "virtual_weights"}) <= TOLERANCE


def test_an_untrained_encoder_is_its_prior() -> None:
    from models.generators.encoder import Encoder

    trained = checkerboard.trained()
    prior = trained.rungs["segment_prior"].filler
    encoder = Encoder(prior, trained.examples.item_vectors).eval()  # type: ignore[arg-type]
    inputs = [torch.as_tensor(array) for array in example_inputs(trained.schema).values()]
    for ours, theirs in zip(encoder(*inputs), prior(*inputs), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_segment_prior_knows_the_halves_and_the_global_one_does_not(bundle: Bundle) -> None:
    inputs = {name: np.zeros_like(array[:2]) for name, array in example_inputs(bundle.schema).items()}
    inputs["attributes"][0, bundle.schema.catalogue.attribute_slots({"half": "even"})] = 1
    inputs["attributes"][1, bundle.schema.catalogue.attribute_slots({"half": "odd"})] = 1
    even, odd = OnnxSession(bundle.rungs["segment_prior"]).run(inputs)["filled_affinity"]
    assert even[0] > odd[0]
    assert odd[1] > even[1]
    same = OnnxSession(bundle.rungs["global_prior"]).run(inputs)["filled_affinity"]
    np.testing.assert_array_equal(same[0], same[1])


def test_who_declares_nothing_gets_the_global_mean_from_the_segment_prior(bundle: Bundle) -> None:
    inputs = {name: np.zeros_like(array[:1]) for name, array in example_inputs(bundle.schema).items()}
    answers = [OnnxSession(bundle.rungs[name]).run(inputs) for name in ("segment_prior", "global_prior")]
    np.testing.assert_allclose(answers[0]["filled_embedding"], answers[1]["filled_embedding"], atol=1e-6)


def test_a_bundle_refuses_a_schema_it_was_not_trained_for(bundle: Bundle) -> None:
    from dataclasses import replace

    from models.schema import TensorSchema

    catalogue, items = checkerboard.catalogue_and_items()
    bundle.require_schema(TensorSchema.of(catalogue, items))
    other = replace(items, ids=[*items.ids[1:], "new"])
    with pytest.raises(BundleError, match="kindling train"):
        bundle.require_schema(TensorSchema.of(catalogue, other))
