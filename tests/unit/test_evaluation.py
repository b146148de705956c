"""The evaluation: metrics by hand, folds without leaks, radii that hold, and a fold from data to report."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from models.evaluation.conformal import conformal_radius
from models.evaluation.evaluation import Evaluation, Number, evaluate
from models.evaluation.fold import TOWER, Plan
from models.evaluation.folds import make_folds
from models.evaluation.metrics import Yardstick, best_items, measure
from models.evaluation.ranking import score_table
from models.evaluation.report import write_report
from models.evaluation.schooling import Curriculum, educate
from models.evaluation.scores import Case, Scores
from models.recommenders.linear import fit_ease, fit_item_knn
from models.teachers.cases import load_logs
from models.teachers.port import Case as Asked
from models.teachers.port import CaseEvent
from models.training.ground import unwatched
from models.training.loop import Schedule
from models.training.split import TrainingError
from tests import checkerboard

BRIEF = Schedule(epochs=1, steps=2)
CURRICULUM = Curriculum(teaching=BRIEF, distilling=BRIEF)
PLAN = Plan(rankers=1, encoders=1, counts=(0, 3), curriculum=CURRICULUM)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("folds")


@pytest.fixture(scope="module")
def evaluation(cache: Path) -> Evaluation:
    return evaluate(checkerboard.shop(), cache, PLAN, first_folds=1)


@pytest.fixture(scope="module")
def numbers(evaluation: Evaluation) -> list[Number]:
    return list(evaluation.numbers())


def test_lists_leave_out_what_was_seen_and_fall_in_score() -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.7]], np.float32)
    seen = np.array([[False, True, False, False]])
    assert best_items(scores, seen, 3).tolist() == [[3, 2, 0]]


def test_metrics_by_hand() -> None:
    yardstick = Yardstick(np.array([7, 3, 1, 0], np.float32), np.eye(4, 2, dtype=np.float32))
    best, wanted = np.array([[1, 0, 2]]), np.array([[True, False, False, False]])
    table = measure(best, wanted, np.array([[1.0, 0.0]], np.float32), yardstick)
    assert table["ndcg@10"][0] == pytest.approx(1 / np.log2(3))
    assert table["hit@10"][0] == table["recall@20"][0] == 1
    assert table["precision@10"][0] == 0.1
    # Popularity plus one is 8, 4, 2, 1: the list's bits are 2, 3 and 1, the wanted item's 3.
    assert table["popularity_bias"][0] == pytest.approx(2 - 3)
    assert table["novelty"][0] == pytest.approx(np.log2(15) - 2)
    assert table["miscalibration"][0] == pytest.approx(-np.log(0.99 / 3 + 0.01))


def test_metrics_agree_with_those_that_models_are_chosen_by() -> None:
    rng = np.random.default_rng(0)
    scores, seen, wanted = (
        rng.random((20, 150), np.float32),
        rng.random((20, 150)) < 0.2,
        rng.random((20, 150)) < 0.1,
    )
    wanted &= ~seen
    yardstick = Yardstick(np.ones(150, np.float32), np.ones((150, 1), np.float32))
    ours = measure(best_items(scores, seen), wanted, np.ones((20, 1), np.float32), yardstick)
    for metric, values in score_table(scores, seen, wanted).items():
        np.testing.assert_allclose(ours[metric], values)


def test_every_user_is_held_out_once_and_never_trains_then() -> None:
    histories = checkerboard.histories()
    splits = make_folds(histories)
    held = np.concatenate([split.held_out for split in splits])
    assert sorted(held.tolist()) == list(range(len(histories.user_ids)))
    chosen = np.concatenate([split.validation for split in splits])
    assert len(set(chosen.tolist())) == len(chosen)
    for split in splits:
        assert not set(split.warm.tolist()) & set(split.held_out.tolist())
        assert not set(split.train.tolist()) & set(split.validation.tolist())
        assert split.cutoff_ms > histories.times_ms.max()


def test_on_large_data_the_last_to_join_are_held_out() -> None:
    histories = checkerboard.histories()
    (split,) = make_folds(histories, small=10)
    assert histories.joined_ms[split.held_out].min() == split.cutoff_ms
    with pytest.raises(TrainingError, match="load more data"):
        make_folds(histories, folds=30)


def test_a_conformal_radius_holds_new_users_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = [rng.exponential(size=500) <= conformal_radius(rng.exponential(size=200)) for _ in range(200)]
    assert 0.89 < np.mean(held) < 0.915
    with pytest.raises(ValueError, match="too few"):
        conformal_radius(np.ones(5))


def test_item_to_item_weights_know_the_halves_and_no_item_recommends_itself() -> None:
    trained = checkerboard.trained()
    marks = trained.examples.uses(trained.examples.histories.after(trained.split.train, 0)).astype(
        np.float32
    )
    for model in (fit_item_knn(marks), fit_ease(marks, ridge=20.0)):
        weights = model._weights
        assert not np.diag(weights).any()
        assert weights[::2, ::2].mean() > weights[::2, 1::2].mean()


def test_a_fold_holds_every_fill_recommender_and_count(evaluation: Evaluation) -> None:
    assert evaluation.counts() == [0, 3]
    assert evaluation.recommenders() == [TOWER, "item_knn", "ease", "sequence", "lightgbm"]
    fills = {case.fill for case in evaluation.cases(TOWER)}
    assert {"none", "segment_mean", "count_shrinkage", "knn", "kshot_linear", "fusion", "oracle"} <= fills
    assert {"teacher:behaviour", "student:tiny", "fusion+student"} <= fills
    for case in evaluation.cases("ease"):
        values = evaluation.scores.metric(case, "ndcg@10")
        assert len(values) == 16 and (values >= 0).all() and (values <= 1).all()
    segments = dict(evaluation.segments())
    assert all(members.sum() >= 20 for members in segments.values())


def test_the_oracle_sees_more_than_anyone(evaluation: Evaluation) -> None:
    oracle = evaluation.scores.metric(Case(TOWER, "oracle", 0), "ndcg@10").mean()
    assert oracle > evaluation.scores.metric(Case(TOWER, "global_mean", 0), "ndcg@10").mean()


def test_numbers_carry_their_case_and_interval(numbers: list[Number]) -> None:
    lifts = [number for number in numbers if number.measure == "lift.ndcg@10"]
    over = {name: {n.labels["over"] for n in lifts if n.subject == name} for name in ("encoder", "fusion")}
    assert over["fusion"] == {"none", "count_shrinkage", "kshot_linear"}
    assert over["encoder"] == {"count_shrinkage"}
    for number in lifts:
        assert number.low is not None and number.high is not None
        assert number.low <= number.value <= number.high
        assert number.labels["dataset"] == "checkerboard" and number.labels["k"] in (0, 3)
    assert {"evaluate.coverage@10", "closed.ndcg@10", "evaluate.novelty"} <= {n.measure for n in numbers}
    level = [n for n in lifts if n.subject == "oracle"]
    assert len(level) == 2 * 5
    novelty = {n.subject for n in numbers if n.measure == "evaluate.novelty"}
    assert "fusion" in novelty and "encoder" not in novelty


def test_a_student_is_measured_by_its_teacher_and_a_fusion_by_the_one_without_it(
    evaluation: Evaluation, numbers: list[Number]
) -> None:
    over = {(n.subject, n.labels["over"]) for n in numbers if n.measure == "lift.ndcg@10"}
    assert {
        ("teacher:behaviour", "segment_mean"),
        ("student:tiny", "segment_mean"),
        ("fusion+student", "fusion"),
    } <= over
    kept = {n.labels["k"]: n for n in numbers if n.measure == "kept.ndcg@10"}
    assert kept.keys() == {0, 3}
    floor, taught, learned = (
        evaluation.scores.metric(Case(TOWER, fill, 3), "ndcg@10").mean()
        for fill in ("segment_mean", "teacher:behaviour", "student:tiny")
    )
    assert kept[3].value == pytest.approx((learned - floor) / (taught - floor))
    assert kept[3].labels["over"] == "teacher:behaviour"


def test_held_out_users_teach_neither_teacher_nor_student() -> None:
    histories, (_, items) = checkerboard.histories(), checkerboard.catalogue_and_items()
    split = make_folds(histories)[0]
    ground = checkerboard.trained().ground
    everything = dataclasses.replace(ground.examples, histories=histories)
    ground = dataclasses.replace(ground, split=split, validation=split.validation, examples=everything)
    held_out = {histories.user_ids[user] for user in split.held_out}

    def otherwise(user_ids: Sequence[str], before_ms: int | None) -> list[Asked]:
        """Logs in which held-out users used nothing but the first item."""
        return [
            Asked(log.user_id, {}, (CaseEvent("i0", "rating", 1.0),) * log.count)
            if log.user_id in held_out
            else log
            for log in load_logs(checkerboard.shop(), user_ids, before_ms)
        ]

    weights, said = [], []
    for logs in (partial(load_logs, checkerboard.shop()), otherwise):
        schooling = educate(ground, histories, logs, items, (0, 3), CURRICULUM, 0, unwatched)
        weights.append(schooling.member[0].state_dict())
        said.append(
            [
                schooling.taught(ground.examples.batch(histories.first(users, 3)))[0][0]
                for users in (split.warm, split.held_out)
            ]
        )
    for name, values in weights[0].items():
        torch.testing.assert_close(values, weights[1][name], rtol=0, atol=0)
    torch.testing.assert_close(said[0][0], said[1][0], rtol=0, atol=0)
    assert (said[0][1] - said[1][1]).abs().max() > 0


def test_a_fold_that_was_kept_is_not_run_again(cache: Path, evaluation: Evaluation) -> None:
    steps: list[str] = []
    again = evaluate(
        checkerboard.shop(), cache, PLAN, first_folds=1, watch=lambda step: steps.append(step.step)
    )
    assert steps == []
    case = Case(TOWER, "fusion", 3)
    np.testing.assert_array_equal(
        again.scores.values[case]["ndcg@10"], evaluation.scores.values[case]["ndcg@10"]
    )


def test_folds_side_by_side_come_out_as_one_after_the_other(evaluation: Evaluation, tmp_path: Path) -> None:
    plan = Plan(rankers=1, encoders=1, counts=(3,), recommenders=("item_knn",), curriculum=None)
    steps: list[str] = []
    both = evaluate(
        checkerboard.shop(),
        tmp_path,
        plan,
        first_folds=2,
        watch=lambda step: steps.append(step.step),
        jobs=2,
    )
    assert {step.split(":")[0] for step in steps} == {"fold 1", "fold 2"}
    first = len(evaluation.scores.users)
    assert both.scores.users[:first].tolist() == evaluation.scores.users.tolist()
    assert not set(both.scores.users[:first].tolist()) & set(both.scores.users[first:].tolist())
    case = Case("item_knn", "none", 3)
    again, before = (part.scores.values[case]["ndcg@10"] for part in (both, evaluation))
    np.testing.assert_allclose(again[:first], before)
    assert not np.isnan(again[first:]).all()


def test_the_report_is_one_page_with_its_pictures(evaluation: Evaluation, tmp_path: Path) -> None:
    write_report(evaluation, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.count("data:image/png;base64,") == 3
    assert "checkerboard" in page and "ease: popular_padding" in page and "$" not in page
    assert "popularity bias" in page
    bare, filled = (
        evaluation.scores.metric(Case(TOWER, fill, 3), "recall@20").mean() for fill in ("none", "fusion")
    )
    assert f"{bare:.3f} → {filled:.3f}" in page


def test_scores_are_what_they_were_after_saving(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.scores.save(tmp_path / "fold.npz")
    loaded = Scores.load(tmp_path / "fold.npz")
    assert loaded.values.keys() == evaluation.scores.values.keys()
    twice = Scores.join([loaded, loaded])
    case = Case(TOWER, "none", 0)
    assert len(twice.users) == 2 * len(loaded.users)
    assert twice.interval(case, "ndcg@10").value == pytest.approx(loaded.interval(case, "ndcg@10").value)


def test_lifts_are_paired_by_user(evaluation: Evaluation) -> None:
    scores = dataclasses.replace(evaluation.scores)
    gain = scores.lift(Case(TOWER, "fusion", 3), "fusion", "ndcg@10")
    assert gain.value == gain.low == gain.high == 0
