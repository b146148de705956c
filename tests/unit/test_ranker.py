"""The ranker reads rows as a feature store answers them, and never recommends what was seen."""

import sys
from subprocess import run
from typing import Any

import numpy as np
import pytest

from models.evaluation.comparison import SUBJECTS, compare
from models.recommenders.features import features_of, fill_is_current, profile_of
from models.recommenders.ranker import Ranker
from tests import checkerboard

HOUR = 3_600_000


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    return Ranker(checkerboard.bundle())


def unknown_user() -> dict[str, Any]:
    """What Feast answers of a user it never heard of."""
    names = [
        *("half", "age", "event_count", "value_count", "value_sum", "affinity"),
        *("recent_items", "recent_weights", "recent_times_ms"),
        *("filled_affinity", "user_embedding", "observed_count", "model_version"),
    ]
    return {"user_id": "stranger", **dict.fromkeys(names)}


def known_user(half: int) -> dict[str, Any]:
    """Three events on items of one half."""
    items = [f"i{item}" for item in range(half, half + 6, 2)]
    affinity = [0.0, 0.0, 1.5]
    affinity[half] = 1.5
    return {
        **unknown_user(),
        "half": ("even", "odd")[half],
        "event_count": 3,
        "value_count": 3,
        "value_sum": 15.0,
        "affinity": affinity,
        "recent_items": items,
        "recent_weights": [1.0, 1.0, 1.0],
        "recent_times_ms": [3 * HOUR, 2 * HOUR, HOUR],
    }


def enriched(row: dict[str, Any], half: int) -> dict[str, Any]:
    """The row with a fill of someone of the given half."""
    bundle = checkerboard.bundle()
    affinity = [0.0, 0.0, 0.5]
    affinity[half] = 0.5
    return {
        **row,
        "filled_affinity": affinity,
        "user_embedding": bundle.item_vectors[half : half + 20 : 2].mean(axis=0).tolist(),
        "observed_count": row["event_count"] or 0,
        "model_version": bundle.version,
    }


def test_recent_events_decay_to_the_newest(ranker: Ranker) -> None:
    profile = profile_of(known_user(0), ranker.bundle.schema)
    assert profile.event_count == 3
    assert profile.weights[0] == 1
    assert profile.weights[1] == pytest.approx(2 ** (-1 / 24 / 30))


def test_an_unknown_user_gets_a_list_all_the_same(ranker: Ranker) -> None:
    for mode in ("raw", "enriched"):
        (ranked,) = ranker.rank([unknown_user()], mode, top_n=10)
        assert len({item.item_id for item in ranked}) == 10
        scores = [item.score for item in ranked]
        assert scores == sorted(scores, reverse=True)


def test_seen_and_excluded_items_are_left_out_and_nothing_else(ranker: Ranker) -> None:
    row = known_user(0)
    (ranked,) = ranker.rank([row], "raw", top_n=1000, exclude=[["i50", "unheard of"]])
    left_out = {*row["recent_items"], "i50"}
    assert {item.item_id for item in ranked} == set(ranker.bundle.item_ids) - left_out


def test_nobody_to_rank_for_is_an_empty_answer(ranker: Ranker) -> None:
    assert ranker.rank([], "raw") == []


def test_users_are_ranked_on_their_own(ranker: Ranker) -> None:
    rows = [known_user(0), unknown_user(), known_user(1)]
    together = ranker.rank(rows, "raw", top_n=5)
    for row, ranked in zip(rows, together, strict=True):
        (alone,) = ranker.rank([row], "raw", top_n=5)
        assert [item.item_id for item in alone] == [item.item_id for item in ranked]


def share_of_half(ranked: list[Any], half: int) -> float:
    return float(np.mean([int(item.item_id[1:]) % 2 == half for item in ranked]))


def test_a_current_fill_is_what_enriched_lists_are_made_of(ranker: Ranker) -> None:
    for half in (0, 1):
        row = enriched(unknown_user(), half)
        (filled,), (raw,) = ranker.rank([row], "enriched", 10), ranker.rank([row], "raw", 10)
        assert share_of_half(filled, half) >= 0.7
        assert share_of_half(filled, half) > share_of_half(raw, half) - 0.2


@pytest.mark.parametrize(
    "stale",
    [
        {"observed_count": 2},
        {"model_version": "an earlier one"},
        {"filled_affinity": None},
        {"user_embedding": [1.0]},
        {"observed_count": None},
    ],
)
def test_a_stale_or_foreign_fill_is_not_used(ranker: Ranker, stale: dict[str, Any]) -> None:
    bundle = ranker.bundle
    row = {**enriched(known_user(0), 1), **stale}
    assert fill_is_current(enriched(known_user(0), 1), bundle.version, 8)
    assert not fill_is_current(row, bundle.version, 8)
    arguments = (bundle.schema, bundle.item_index, bundle.item_vectors, bundle.version, 0.5)
    filled, observed = features_of([row], "enriched", *arguments), features_of([row], "raw", *arguments)
    for name, values in observed.items():
        np.testing.assert_array_equal(values, filled[name])


def test_the_mean_value_is_scaled_and_assumed_where_missing(ranker: Ranker) -> None:
    bundle = ranker.bundle
    rows = [{**known_user(0), "value_count": 2, "value_sum": 6.0}, unknown_user()]
    inputs = features_of(
        rows, "raw", bundle.schema, bundle.item_index, bundle.item_vectors, bundle.version, 0.8
    )
    np.testing.assert_allclose(inputs["mean_value"][:, 0], [0.5, 0.8])


def test_offline_comparison_ranks_as_the_ranker_does(ranker: Ranker) -> None:
    trained = checkerboard.trained()
    _, items = checkerboard.catalogue_and_items()
    comparison = compare(
        ranker.bundle, checkerboard.histories(), items, trained.split.held_out, counts=(0, 1, 3)
    )
    for subject in SUBJECTS:
        for count in (0, 1, 3):
            values = comparison.values[subject][count]["ndcg@10"]
            assert values.shape == (20,)
            assert ((values >= 0) & (values <= 1)).all()
    assert len(comparison.rows()) == 3 * 3 * 2
    gain = comparison.gain("raw", 1, "ndcg@10")
    assert gain.low <= gain.value <= gain.high

    histories, user = checkerboard.histories(), int(trained.split.held_out[0])
    profile = checkerboard.folded(user, 3)
    events = histories.starts[user] + np.arange(3)
    row = {
        **profile.attributes,
        "event_count": 3,
        "affinity": profile.affinity,
        "value_count": 3,
        "value_sum": float(histories.values[events].sum()),
        "recent_items": list(profile.items),
        "recent_weights": histories.weights[events[::-1]].tolist(),
        "recent_times_ms": histories.times_ms[events[::-1]].tolist(),
    }
    from models.evaluation.ranking import ndcg

    (ranked,) = ranker.rank([row], "raw", top_n=10)
    later = {items.ids[item] for item in histories.items[events[-1] + 1 : histories.starts[user + 1]]}
    ours = ndcg([item.item_id for item in ranked], later, 10)
    assert ours == pytest.approx(comparison.values["raw"][3]["ndcg@10"][0])


def test_serving_imports_no_training_library_and_no_kafka() -> None:
    modules = "models.session, models.registry, models.bundle, models.schema, models.calibration"
    # Feast opens the stores of this name, and so imports the packages that they are in.
    modules += ", models.recommenders.ranker, models.evaluation.comparison, streaming.stores.script"
    code = f"import sys, {modules}; sys.exit(str({{'torch', 'onnx', 'kafka'}} & sys.modules.keys() or ''))"
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
