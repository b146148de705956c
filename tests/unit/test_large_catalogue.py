"""Catalogues too large for losses over all items: fitted on samples, by factors, to the same end."""

import pytest
import torch

from models.content import content_vectors
from models.generators.kshot_linear import KShotLinear
from models.schema import TensorSchema
from models.training.arguments import Arguments
from models.training.histories import item_category_shares
from models.training.options import Options
from models.training.split import split_by_join_time
from models.training.train import fit_models
from models.training.trained import Trained
from tests import checkerboard

SAMPLE = 4
OPTIONS = Options(
    dense_items=0, sampled_items=SAMPLE, epochs=3, crossed=3, fused=("encoder", "kshot_linear", "vae")
)


@pytest.fixture(scope="module")
def trained() -> Trained:
    catalogue, items = checkerboard.catalogue_and_items()
    histories = checkerboard.histories()
    return fit_models(
        TensorSchema.of(catalogue, items),
        histories,
        split_by_join_time(histories),
        content_vectors(catalogue, items),
        item_category_shares(catalogue, items),
        Arguments(rankers=1, members=1, options=OPTIONS),
    )


def test_losses_are_over_the_items_of_a_batch_and_a_sample(trained: Trained) -> None:
    examples, users = trained.examples, trained.split.train[:1]
    assert examples.sampled
    batch = examples.sampled_batch(examples.histories.first(users, 2))
    used = {*examples.histories.items[examples.histories.after(users, 0).events].tolist()}
    items = batch["items"].tolist()
    assert used <= {*items} and len(used) < len(items) <= len(used) + SAMPLE < trained.schema.item_count
    # Columns stand for all items: those used for themselves, the sample for the rest.
    weights = batch["log_weights"].exp()
    assert float(weights.sum()) == pytest.approx(trained.schema.item_count, rel=1e-4)


def test_no_table_is_of_items_by_items(trained: Trained) -> None:
    count = trained.schema.item_count
    linear = [m for m in trained.rungs["generator"].modules() if isinstance(m, KShotLinear)]
    assert len(linear) == 1 and linear[0].maps is not None
    for name, table in trained.rungs["generator"].state_dict().items():
        assert sum(size in (count, count + 1) for size in table.shape) < 2, name


def test_it_ends_where_losses_over_all_items_do(trained: Trained) -> None:
    dense = checkerboard.trained().metrics
    for count in (1, 5):
        ours, theirs = (m[f"kindling/ndcg@10/{count}"] for m in (trained.metrics, dense))
        assert ours > 0.9 * theirs
    batch = trained.examples.batch(trained.examples.histories.first(trained.split.validation, 3))
    inputs = [batch[spec.name] for spec in trained.schema.inputs]
    with torch.no_grad():
        shares, embedding, virtual, weights = trained.rungs["generator"](*inputs)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(len(shares)))
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(weights)))
    assert torch.isfinite(embedding).all()
    assert not batch["seen"].gather(1, virtual).any()
