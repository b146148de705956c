"""What students learn: from lessons as far as they are trusted, whatever order events come in."""

import copy
from dataclasses import replace
from functools import cache

import msgspec
import numpy as np
import pytest
import torch

from models.bundle import REASON_CODES, STUDENT
from models.schema import Floats
from models.students.book import open_book
from models.students.champion import crown
from models.students.distil import Mix, distil, untrained
from models.students.losses import HiddenLoss, share_loss, soft_label_loss
from models.students.prune import prune
from models.students.rationale import code_rationale
from models.students.reach import fit_reach
from models.students.student import HISTORY_TOKENS, ItemTokens, Student
from models.students.trust import judge, weigh_lessons
from models.training.loop import Schedule
from models.training.split import TrainingError
from tests import checkerboard
from tests.taught import book, ground, lessons, trained

BRIEF = Schedule(epochs=4, steps=6, patience=4, learning_rate=3e-3)


@cache
def student() -> Student:
    return distil(ground(), [book()], schedule=BRIEF)[0]


def asked(rows: int = 8) -> list[torch.Tensor]:
    """Inputs of users with two events."""
    histories, shares = checkerboard.histories(), ground().examples.item_shares
    tensors = histories.observe(histories.first(np.arange(rows), 2), ground().schema, shares)
    return [torch.as_tensor(array) for array in tensors.values()]


def test_a_student_that_learned_nothing_is_its_prior() -> None:
    fresh = untrained(ground()).eval()
    for ours, theirs in zip(fresh(*asked()), ground().segment_prior(*asked()), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_lessons_bring_a_student_nearer_to_its_teacher() -> None:
    taught = book()
    rows = np.flatnonzero(taught.counts == 2)
    batch = ground().examples.batch(ground().examples.histories.first(taught.users[rows], 2), False)
    names = ("affinity", "history_items", "history_weights", "attributes", "count")
    away = []
    for model in (untrained(ground()).eval(), student()):
        with torch.no_grad():
            shares, _ = model(*(batch[name] for name in names))
        away.append(share_loss(shares, torch.as_tensor(taught.affinity[rows])).mean().item())
    assert away[1] < away[0]


def test_a_guide_is_followed() -> None:
    """Here one who tells nobody from anybody else."""
    guide = ground().global_prior, ground().kappa["global_prior"]
    follower = distil(ground(), [book()], schedule=BRIEF, mix=Mix(guided=30.0), guide=guide)[0]
    expected = torch.cat(guide[0](*asked()), dim=1)
    away = []
    for model in (student(), follower):
        with torch.no_grad():
            away.append((torch.cat(model(*asked()), dim=1) - expected).abs().mean().item())
    assert away[1] < 0.7 * away[0]


def test_a_student_who_leads_astray_is_held_back() -> None:
    good, astray = copy.deepcopy(student()), untrained(ground()).eval()
    with torch.no_grad():
        astray.embedding_shift.bias.normal_(std=5, generator=torch.Generator().manual_seed(0))
    for pupil in (good, astray):
        kappa = fit_reach(ground(), pupil)
        assert min(kappa.values()) > 0
        assert ((pupil.reach >= 0) & (pupil.reach <= 1)).all()
    assert astray.reach.max() < 0.5 < good.reach.max()


def test_a_teacher_who_is_wrong_about_a_segment_is_trusted_less_there() -> None:
    taught = book(wrong_half=1)
    ours, theirs = judge(ground(), taught)
    assert ours.mean() != theirs.mean()
    trust = weigh_lessons(ground(), taught)
    odd = ground().examples.histories.attributes[taught.users, 1] > 0
    assert trust[odd].mean() < trust[~odd].mean()
    assert trust[odd].mean() < weigh_lessons(ground(), book())[odd].mean()


def test_what_a_teacher_doubts_counts_less() -> None:
    taught = book()
    taught.confidence[:10] = 0.1
    trust = weigh_lessons(ground(), taught)
    assert trust[:10].max() < trust[10:].min()


def test_students_learn_from_several_teachers() -> None:
    two = distil(ground(), [book(), book(wrong_half=0)], schedule=Schedule(epochs=1, steps=1))[0]
    assert sum(p.numel() for p in two.parameters()) == sum(p.numel() for p in student().parameters())


def test_lessons_about_nobody_here_are_refused() -> None:
    histories, (catalogue, items) = checkerboard.histories(), checkerboard.catalogue_and_items()
    strangers = replace(histories, user_ids=["stranger"])
    with pytest.raises(TrainingError, match="teach its users"):
        open_book("oracle", lessons(), strangers, catalogue, items)
    narrower = msgspec.structs.replace(catalogue, categories=("even", "odd"))
    with pytest.raises(TrainingError, match="affinity"):
        open_book("oracle", lessons(), histories, narrower, items)
    training = book().chosen(ground().split.train)
    with pytest.raises(TrainingError, match="validation user"):
        weigh_lessons(ground(), training)


def test_the_strongest_events_are_read_in_whatever_order_they_stand() -> None:
    inputs = asked(2)
    length = HISTORY_TOKENS + 6
    inputs[1], inputs[2] = torch.zeros(2, 32, dtype=torch.int64), torch.zeros(2, 32)
    inputs[1][:, :length], inputs[2][:, :length] = (
        torch.arange(1, length + 1),
        torch.linspace(1, 0.1, length),
    )
    mixed = list(inputs)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    mixed[1], mixed[2] = inputs[1][:, order], inputs[2][:, order]
    with torch.no_grad():
        for ours, theirs in zip(student()(*inputs), student()(*mixed), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_a_new_item_needs_its_features_alone() -> None:
    known = student()
    assert isinstance(known.items, ItemTokens)
    features: Floats = known.items.features[1:3].numpy()
    copy = untrained(ground())
    copy.load_state_dict(known.state_dict())
    wider = copy.fold_items(features)
    inputs = asked(1)
    inputs[1], inputs[2] = torch.zeros(1, 32, dtype=torch.int64), torch.zeros(1, 32)
    inputs[1][0, 0], inputs[2][0, 0] = 1, 1.0
    twin = list(inputs)
    twin[1] = inputs[1].clone()
    twin[1][0, 0] = checkerboard.ITEMS + 1  # the same features, and no user ever trained it
    with torch.no_grad():
        ours, theirs = wider(*inputs)[0], wider(*twin)[0]
        without = wider(*asked(1))[0]
    assert (ours - theirs).abs().max() < (ours - without).abs().max()


def test_soft_labels_are_met_exactly_by_their_own_logarithms() -> None:
    labels = torch.tensor([[0.5, 0.3, 0.2]])
    scores = torch.cat([labels.log(), torch.full((1, 2), -1e9)], dim=1)
    items = torch.tensor([[0, 1, 2]])
    for temperature in (1.0, 3.0):
        assert soft_label_loss(scores, items, labels, temperature).item() == pytest.approx(0, abs=1e-5)
        assert soft_label_loss(-scores.clamp(min=-9), items, labels, temperature).item() > 0.1


def test_hidden_states_are_matched_where_widths_allow_and_projected_where_not() -> None:
    state = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    assert HiddenLoss(6, 6)(state, 3 * state).max().item() == pytest.approx(0, abs=1e-4)
    projected = HiddenLoss(6, 3)
    assert projected(state, torch.zeros(4, 3)).max().item() == 0
    assert (projected(state, torch.ones(4, 3)) > 0).all()


def test_pruned_units_are_gone_and_the_rest_answers() -> None:
    model = untrained(ground())
    before = sum(parameter.numel() for parameter in model.parameters())
    assert sum(parameter.numel() for parameter in prune(model, 0.5).parameters()) < before
    model.eval()(*asked())
    with pytest.raises(ValueError, match="prune less"):
        prune(model, 1.0)


def test_a_rationale_is_coded_by_what_it_names() -> None:
    said = "likely to use Alien, as others who used Solaris; more than usual: Drama"
    declared, categories = ["age", "writer"], ["Drama", "War"]
    assert code_rationale(said, declared, ["Solaris"], ["Alien"], categories) == [0, 1, 1, 1]
    assert code_rationale("as others who declared the same", declared, [], ["Alien"], []) == [1, 0, 0, 0]
    assert code_rationale("a Writer likes it", declared, ["It"], [], categories) == [1, 0, 0, 0]


def test_a_student_foretells_when_its_teacher_gives_which_reason() -> None:
    model = trained().reasons
    assert model is not None
    histories, shares = checkerboard.histories(), ground().examples.item_shares
    said = []
    for count in (0, 2):
        tensors = histories.observe(histories.first(np.arange(8), count), ground().schema, shares)
        said.append(model(*(torch.as_tensor(array) for array in tensors.values())).mean(dim=0))
    attribute, edge = REASON_CODES.index("attribute"), REASON_CODES.index("knowledge_edge")
    assert said[0][attribute] > 0.5 > said[1][attribute]
    assert said[1][edge] > 0.5 > said[0][edge]


def test_the_student_is_the_best_rung_only_where_that_is_proven() -> None:
    fitted = trained()
    tasks = {name: ground().task(fitted.calibration.kappa[name]) for name in fitted.rungs}
    modest = msgspec.structs.replace(
        fitted.calibration, rungs=["segment_prior"] * len(fitted.calibration.rungs)
    )
    same = {**fitted.rungs, STUDENT: fitted.rungs["segment_prior"]}
    assert STUDENT not in crown(ground(), same, {**tasks, STUDENT: tasks["segment_prior"]}, modest).rungs
    crowned = crown(ground(), fitted.rungs, tasks, modest)
    assert set(crowned.rungs) <= {STUDENT, "segment_prior"}
    assert STUDENT in fitted.calibration.confidences
