"""The promotion gate: what it compares, what it refuses, and that a warm start carries what was learned."""

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from kindling.cli.models import app
from kindling.cli.train import beginning
from models.content import content_vectors
from models.evaluation import comparison
from models.evaluation.promotion import judge
from models.generators.ensemble import Ensemble
from models.registry import Pointer, Registry, RegistryError
from models.training.arguments import Arguments
from models.training.histories import item_category_shares, load_histories
from models.training.logged import COLUMNS, Logged
from models.training.regime import Regime
from models.training.split import TrainingError
from models.training.start import Start, aligned, carry, start_from
from models.training.train import fit_models, fresh_users
from models.verdict import Verdict, read_verdict, require_verdict
from tests import checkerboard
from tests.unit.test_registry import VERSIONS, registry

__all__ = ["registry"]

OLD, NEW = VERSIONS[:2]
LEVEL = Verdict(NEW, OLD, "kindling", 0.01, 0.001, -0.004, 0.006, 100)
WORSE = msgspec.structs.replace(LEVEL, value=-0.02, low=-0.04, high=0.0)


def test_a_bundle_is_level_with_itself_and_a_rival_of_another_catalogue_is_not_asked() -> None:
    bundle = checkerboard.bundle()
    _, items = checkerboard.catalogue_and_items()
    verdict, gains = judge(bundle, "old", bundle, checkerboard.histories(), items)
    assert (verdict.value, verdict.low, verdict.high) == (0, 0, 0)
    assert verdict.passed and verdict.users == gains[0].n > 10
    manifest = msgspec.structs.replace(bundle.manifest, fingerprint="of another catalogue")
    for other in (dataclasses.replace(bundle, manifest=manifest), None):
        verdict, _ = judge(bundle, "old", other, checkerboard.histories(), items)
        assert (verdict.rival, verdict.subject) == ("old", "count_shrinkage")


def test_users_who_are_compared_a_few_at_a_time_come_out_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, histories = checkerboard.bundle(), checkerboard.histories()
    _, items = checkerboard.catalogue_and_items()
    users = np.flatnonzero(histories.joined_ms >= bundle.manifest.cutoff_ms)
    whole = comparison.compare(bundle, histories, items, users, counts=(0, 3))
    monkeypatch.setattr(comparison, "_CELLS", 7 * len(items))
    parts = comparison.compare(bundle, histories, items, users, counts=(0, 3))
    for subject, by_count in whole.values.items():
        for count, metrics in by_count.items():
            for metric, values in metrics.items():
                assert len(values) > 7
                np.testing.assert_allclose(parts.values[subject][count][metric], values)


@pytest.mark.parametrize(("low", "passed"), [(-0.0099, True), (-0.01, False)])
def test_the_whole_interval_must_lie_above_the_margin(low: float, passed: bool) -> None:
    assert msgspec.structs.replace(LEVEL, low=low).passed is passed


def test_what_may_be_worse_or_was_not_compared_is_refused(tmp_path: Path) -> None:
    pointer = Pointer((VERSIONS[2], OLD))
    require_verdict(tmp_path, NEW, Pointer())  # nothing is active
    require_verdict(tmp_path, VERSIONS[2], pointer)  # it was active before
    with pytest.raises(RegistryError, match="not compared"):
        require_verdict(tmp_path, NEW, pointer)
    LEVEL.write(tmp_path)
    assert read_verdict(tmp_path, NEW) == LEVEL
    require_verdict(tmp_path, NEW, pointer)
    with pytest.raises(RegistryError, match="not compared"):
        require_verdict(tmp_path, NEW, Pointer((OLD, VERSIONS[2])))
    WORSE.write(tmp_path)
    with pytest.raises(RegistryError, match=r"may be worse.*-0\.0400.*--force"):
        require_verdict(tmp_path, NEW, pointer)


def test_the_command_refuses_until_it_is_forced(registry: Registry) -> None:
    root = registry.root.parent / "var"
    root.mkdir()
    (root / "bundles").symlink_to(registry.root)

    def call(*arguments: str) -> int:
        return CliRunner().invoke(app, [*arguments, "--var", str(root)]).exit_code

    assert call("activate", OLD) == 0
    assert call("activate", NEW) != 0
    WORSE.write(registry.root)
    assert call("activate", NEW) != 0
    assert registry.active_version() == OLD
    registry.set_canary(NEW, 0.5)
    assert call("promote") != 0
    assert call("activate", NEW, "--force") == 0
    assert registry.active_version() == NEW
    assert call("activate", OLD) == 0


def test_a_training_begins_at_a_version_or_at_a_time(registry: Registry) -> None:
    assert beginning(registry, None) == (None, 0)
    cutoff_ms = checkerboard.bundle().manifest.cutoff_ms
    assert beginning(registry, NEW) == (NEW, cutoff_ms)
    with pytest.raises(RegistryError, match="no bundle is active"):
        beginning(registry, "2024-01-02")
    registry.activate(OLD)
    assert beginning(registry, "active") == (OLD, cutoff_ms)
    assert beginning(registry, "1970-01-02") == (OLD, 86_400_000)
    with pytest.raises(RegistryError, match="no ISO time"):
        beginning(registry, "yesterday")


class Embedder(nn.Module):
    def __init__(self, items: int, width: int = 2) -> None:
        super().__init__()
        self.offsets = nn.Embedding(items + 1, 2, padding_idx=0)
        nn.init.zeros_(self.offsets.weight)
        self.last = nn.Linear(width, 1)


def test_weights_follow_their_items_into_another_catalogue() -> None:
    old, new = Embedder(3), Embedder(3, width=5)
    with torch.no_grad():
        old.offsets.weight[1:] = torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    kept = new.last.weight.detach().clone()
    weights = {name: parameter.detach() for name, parameter in old.named_parameters()}
    start = Start({}, np.eye(3, dtype=np.float32), ["a", "b", "c"])
    carry(new, weights, start.rows_of(["c", "new", "a"]))
    assert new.offsets.weight[:, 0].tolist() == [0, 3, 0, 1]
    torch.testing.assert_close(new.last.weight, kept)  # its width changed: it stays as it was


def test_vectors_are_turned_back_to_where_they_lay() -> None:
    rng = np.random.default_rng(0)
    before = rng.normal(size=(9, 4)).astype(np.float32)
    turn, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    start = Start({}, before, [str(item) for item in range(9)])
    rows = start.rows_of(["new", *start.item_ids])
    after = np.concatenate([rng.normal(size=(1, 4)), before @ turn]).astype(np.float32)
    back = aligned(after, start, rows)
    np.testing.assert_allclose(back[1:], before, atol=1e-5)
    np.testing.assert_allclose(back @ back.T, after @ after.T, atol=1e-4)


def test_a_bundle_keeps_the_weights_that_a_warm_start_begins_with() -> None:
    bundle = checkerboard.bundle()
    start = start_from(bundle)
    assert {"encoder-0", "ranker-0"} <= set(start.weights)
    modules = checkerboard.trained().rungs["generator"].modules()
    ensemble = next(module for module in modules if isinstance(module, Ensemble))
    offsets = start.weights["encoder-0"]["tokens.offsets.weight"]
    torch.testing.assert_close(offsets, ensemble.offsets[:, : offsets.shape[1]])
    assert offsets.abs().max() > 0


def test_models_are_brought_up_to_date_from_those_before(tmp_path: Path) -> None:
    before, histories = checkerboard.trained(), checkerboard.histories()
    catalogue, items = checkerboard.catalogue_and_items()
    regime = Regime(
        folder=tmp_path / "run",
        start=Start(before.ground.regime.kept, before.examples.item_vectors, items.ids),
        item_ids=items.ids,
        fresh=fresh_users(histories, int(histories.joined_ms[30])),
    )
    after = fit_models(
        before.schema,
        histories,
        before.split,
        content_vectors(catalogue, items),
        item_category_shares(catalogue, items),
        Arguments(rankers=1, members=1),
        regime=regime,
    )
    assert (tmp_path / "run" / "encoder-0.pt").exists()
    regime.forget()
    assert not (tmp_path / "run").exists()
    # The items did not change, so neither did the space in which the weights mean something.
    np.testing.assert_allclose(after.examples.item_vectors, before.examples.item_vectors, atol=1e-4)
    ours, theirs = (regime.kept["encoder-0"], before.ground.regime.kept["encoder-0"])
    moved = (ours["hidden.0.weight"] - theirs["hidden.0.weight"]).norm() / theirs["hidden.0.weight"].norm()
    assert moved < 0.5


def test_what_was_replayed_from_the_data_is_not_counted_twice() -> None:
    loaded = pq.read_table(checkerboard.shop() / "events.parquet")
    new = loaded.slice(0, 3).set_column(0, "event_id", pa.array(["n1", "n2", "n3"]))
    logged = Logged(pa.concat_tables([loaded.slice(5, 40), new]).select(COLUMNS), {"u0": {"half": "odd"}})
    assert logged.added_to(loaded).num_rows == loaded.num_rows + 3
    catalogue, items = checkerboard.catalogue_and_items()
    histories = load_histories(checkerboard.shop(), catalogue, items, logged)
    assert histories.counts.sum() == loaded.num_rows + 3
    declared = histories.attributes[histories.user_ids.index("u0")]
    assert np.flatnonzero(declared).tolist() == catalogue.attribute_slots({"half": "odd"})


def test_new_users_learn_beside_as_many_others() -> None:
    histories = checkerboard.histories()
    fresh = fresh_users(histories, int(histories.joined_ms[70]))
    assert fresh[70:].all() and not fresh[:60].any()
    train = np.arange(76)
    learners = Regime(fresh=fresh).learners(train)
    assert fresh[learners].sum() == (~fresh[learners]).sum() == fresh[train].sum()
    with pytest.raises(TrainingError, match="--since"):
        Regime(fresh=fresh).learners(np.arange(50))
