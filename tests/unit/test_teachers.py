"""Teachers: cases out of a data set, lessons on disk, and the one that learned from behaviour."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from models.content import content_vectors
from models.teachers.behaviour import Behaviour
from models.teachers.behaviour_fit import fit_behaviour
from models.teachers.behaviour_model import SHOWN, BehaviourModel
from models.teachers.cases import cut, cut_all, load_logs
from models.teachers.exam import examine
from models.teachers.language import COMPLETE, PAD, Language, padded
from models.teachers.lessons import (
    PART_CASES,
    dataset_fingerprint,
    lessons_folder,
    read_lessons,
    read_manifest,
    teach,
)
from models.teachers.port import Case, CaseEvent, Lesson, TeacherError, soft_labels
from models.training.loop import Schedule
from models.training.split import split_by_join_time
from tests import checkerboard


def logs_of(users: Sequence[int]) -> list[Case]:
    ids = checkerboard.histories().user_ids
    return load_logs(checkerboard.shop(), [ids[user] for user in users])


@pytest.fixture(scope="module")
def behaviour() -> Behaviour:
    """A teacher of few steps, which is enough to tell even from odd."""
    split = split_by_join_time(checkerboard.histories())
    catalogue, items = checkerboard.catalogue_and_items()
    torch.set_num_threads(1)
    return fit_behaviour(
        catalogue,
        items,
        content_vectors(catalogue, items),
        logs_of(split.train.tolist()),
        logs_of(split.validation.tolist()),
        members=1,
        schedule=Schedule(epochs=6, steps=8, patience=6, learning_rate=5e-3),
    )


class Echo:
    """Teaches that what was used will be used; nothing of users who did nothing."""

    name, version = "echo", "1"

    def __init__(self) -> None:
        self.asked = 0

    def teach(self, cases: Sequence[Case]) -> Iterator[Lesson]:
        for case in cases:
            self.asked += 1
            if case.events:
                yield Lesson(case.user_id, case.count, (case.events[0].item_id,), (1.0,), (0.5, 0.5, 0.0))


def test_a_log_holds_all_that_a_user_did_in_order_and_a_cut_only_the_first() -> None:
    (log,) = logs_of([3])
    assert log.count == checkerboard.EVENTS
    assert log.attributes.keys() == {"half", "age"}
    assert cut(log, 2).events == log.events[:2]


def test_nothing_is_read_from_the_cutoff_on() -> None:
    histories = checkerboard.histories()
    last = int(histories.times_ms[histories.starts[1] - 1])
    (log,) = load_logs(checkerboard.shop(), [histories.user_ids[0]], before_ms=last)
    assert 0 < log.count < checkerboard.EVENTS


def test_a_case_leaves_something_to_foresee() -> None:
    (log,) = logs_of([0])
    assert [case.count for case in cut_all([log], (0, 5, checkerboard.EVENTS))] == [0, 5]


def test_equal_cases_have_equal_keys_whoever_they_are() -> None:
    event = CaseEvent("i1", "rating", 4.0)
    assert Case("a", {"half": "odd"}, (event,)).key() == Case("b", {"half": "odd"}, (event,)).key()
    assert Case("a", {"half": "odd"}, (event,)).key() != Case("a", {"half": "even"}, (event,)).key()


def test_soft_labels_are_the_likeliest_and_sum_to_one() -> None:
    items, weights = soft_labels(np.array([0.1, 0.0, 0.5, 0.4], np.float32), ["a", "b", "c", "d"], most=3)
    assert items == ("c", "d", "a")
    assert sum(weights) == pytest.approx(1)
    with pytest.raises(TeacherError, match="no item has a positive share"):
        soft_labels(np.zeros(2, np.float32), ["a", "b"])


def test_lessons_survive_the_disk_and_what_came_to_none_is_counted(tmp_path: Path) -> None:
    cases = cut_all(logs_of(range(6)), (0, 1, 2))
    folder = teach(Echo(), cases, "data", tmp_path)
    assert list(read_lessons(folder)) == list(Echo().teach(cases))
    assert read_manifest(folder).invalid == 6
    assert read_manifest(folder).cases == len(cases)


def test_a_run_that_was_cut_short_asks_only_what_is_missing(tmp_path: Path) -> None:
    cases = cut_all(logs_of(range(40)), range(10))
    folder = teach(Echo(), cases, "data", tmp_path)
    parts = sorted(folder.glob("part-*.parquet"))
    assert len(parts) == -(-len(cases) // PART_CASES)
    whole = list(read_lessons(folder))
    parts[1].unlink()
    again, told = Echo(), list[int]()
    assert teach(again, cases, "data", tmp_path, told.append) == folder
    assert again.asked == len(cases[PART_CASES : 2 * PART_CASES])
    assert list(read_lessons(folder)) == whole
    assert sum(told) == len(cases)


def test_another_version_or_data_set_is_another_run() -> None:
    cases, echo, later = cut_all(logs_of([0]), (1,)), Echo(), Echo()
    later.version = "2"
    folders = {lessons_folder(Path(), teacher, cases, data) for teacher in (echo, later) for data in "ab"}
    assert len(folders) == 4
    assert dataset_fingerprint(checkerboard.shop()) == dataset_fingerprint(checkerboard.shop())


def test_lessons_that_are_not_finished_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="no finished lessons"):
        list(read_lessons(tmp_path))


def test_a_sentence_tells_attributes_then_items_with_reactions() -> None:
    catalogue, items = checkerboard.catalogue_and_items()
    language = Language(catalogue, items.ids)
    case = Case("u", {"half": "odd"}, (CaseEvent("i7", "rating", 5.0), CaseEvent("nowhere", "rating")))
    log = language.log(case)
    sentence = language.sentence(log, COMPLETE, range(len(log.items)))
    assert len(sentence) == 4
    assert sentence[2] - language.first_item == 7
    assert language.read_reaction(sentence[3] - language.first_reaction) == ("rating", 5.0)
    unvalued = language.reaction("bought", None) - language.first_reaction
    assert language.read_reaction(unvalued) == ("rating", None)


def test_padding_changes_nothing() -> None:
    catalogue, items = checkerboard.catalogue_and_items()
    language = Language(catalogue, items.ids)
    content = content_vectors(catalogue, items)
    model = BehaviourModel(language, content, np.ones(len(items), np.float32)).eval()
    short = [COMPLETE]
    with torch.no_grad():
        alone = model(torch.as_tensor(padded([short])))[0, 0]
        beside = model(torch.as_tensor(padded([short, short * 9])))[0, 0]
    assert padded([short, short * 9])[0, 1] == PAD
    torch.testing.assert_close(alone, beside)


def test_items_alike_in_content_start_alike() -> None:
    catalogue, items = checkerboard.catalogue_and_items()
    language = Language(catalogue, items.ids)
    content = content_vectors(catalogue, items)
    model = BehaviourModel(language, content, np.ones(len(items), np.float32))
    vectors = torch.nn.functional.normalize(model.item_vectors(), dim=1)
    assert vectors[0] @ vectors[2] > vectors[0] @ vectors[1] + 0.2


def test_a_lesson_follows_what_was_shown(behaviour: Behaviour) -> None:
    def odd_share(attributes: dict[str, str | float | None], *used: int) -> float:
        events = tuple(CaseEvent(f"i{item}", "rating", 5.0) for item in used)
        (lesson,) = behaviour.teach([Case("u", attributes, events)])
        assert not set(lesson.items) & {event.item_id for event in events}
        assert sum(lesson.item_weights) == pytest.approx(1)
        assert sum(lesson.affinity) == pytest.approx(1, abs=1e-5)
        return lesson.affinity[1] / (lesson.affinity[0] + lesson.affinity[1])

    assert odd_share({"half": "odd"}) > odd_share({"half": "even"}) + 0.2
    # Unpopular ones: those that were used are no longer among what is likely.
    assert odd_share({}, 31, 33, 35) > odd_share({}, 30, 32, 34) + 0.02


def test_a_lesson_says_why_in_one_line(behaviour: Behaviour) -> None:
    (lesson,) = behaviour.teach([Case("u", {"half": "odd"}, (CaseEvent("i33", "rating", 5.0),))])
    assert lesson.rationale.startswith("likely to use thing ")
    assert "as others who used thing 33" in lesson.rationale
    assert "\n" not in lesson.rationale
    assert "odd" in lesson.liked
    assert "even" in lesson.disliked


def test_confidence_never_falls_as_more_is_known(behaviour: Behaviour) -> None:
    (log,) = logs_of([0])
    values = [next(iter(behaviour.teach([cut(log, count)]))).confidence for count in range(12)]
    assert values == sorted(values)
    assert 0 < values[0] <= values[-1] < 1


def test_a_log_longer_than_a_sentence_is_taught_by_its_newest_events(behaviour: Behaviour) -> None:
    (log,) = logs_of([0])
    assert log.count > SHOWN
    newest = msgspec.structs.replace(log, events=log.events[-SHOWN:])
    whole, recent = (behaviour.complete([behaviour.language.log(case)])[1] for case in (log, newest))
    np.testing.assert_allclose(whole, recent, atol=1e-5)


def test_a_continuation_adds_new_items_and_reactions_by_seed(behaviour: Behaviour) -> None:
    case = Case("u", {"half": "even"}, (CaseEvent("i0", "rating", 5.0),))
    (longer,) = behaviour.continue_logs([case], 20, seed=1)
    assert longer.events[:1] == case.events
    assert len({event.item_id for event in longer.events}) == 21
    assert all(event.type == "rating" and 1 <= (event.value or 3) <= 5 for event in longer.events)
    assert behaviour.continue_logs([case], 20, seed=1) == [longer]
    assert behaviour.continue_logs([case], 20, seed=2) != [longer]


def test_a_saved_teacher_teaches_the_same(behaviour: Behaviour, tmp_path: Path) -> None:
    behaviour.save(tmp_path)
    _, items = checkerboard.catalogue_and_items()
    again = Behaviour.load(tmp_path, items)
    cases = cut_all(logs_of([1, 2]), (0, 3))
    assert again.version == behaviour.version
    assert list(again.teach(cases)) == list(behaviour.teach(cases))
    with pytest.raises(TeacherError, match="no behaviour teacher"):
        Behaviour.load(tmp_path / "elsewhere", items)


def test_users_with_single_events_train_no_teacher() -> None:
    catalogue, items = checkerboard.catalogue_and_items()
    content, logs = content_vectors(catalogue, items), logs_of([0, 1])
    with pytest.raises(TeacherError, match="two events"):
        fit_behaviour(catalogue, items, content, logs, [cut(log, 1) for log in logs])


def test_an_exam_grades_what_was_not_used_before_and_nothing_for_no_lesson() -> None:
    logs = [
        Case("a", {}, tuple(CaseEvent(item, "rating") for item in ("i1", "i1", "i2"))),
        Case("b", {}, tuple(CaseEvent(item, "rating") for item in ("i3", "i4", "i5"))),
        Case("short", {}, (CaseEvent("i3", "rating"),)),
    ]
    popularity = np.array([0, 9, 5, 1, 4, 0], np.float32)
    grades = examine(Foreseeing(), logs, [f"i{item}" for item in range(6)], popularity, (0, 1))
    assert list(grades) == ["teacher:foreseeing", "popularity"]
    # After one event, the first user's later i1 was used before: i2 alone is left to foresee.
    np.testing.assert_allclose(grades["teacher:foreseeing"]["recall@20", 1], [1, 0])
    np.testing.assert_allclose(grades["teacher:foreseeing"]["ndcg@10", 1], [1, 0])
    np.testing.assert_allclose(grades["popularity"]["recall@20", 0], [1, 1])
    assert grades["popularity"]["ndcg@10", 1][0] == 1


class Foreseeing:
    """Knows what the first user will use, and has no lesson for others."""

    name, version = "foreseeing", "1"

    def teach(self, cases: Sequence[Case]) -> Iterator[Lesson]:
        for case in cases:
            if case.user_id == "a":
                yield Lesson(case.user_id, case.count, ("i2",), (1.0,), (1.0, 0.0, 0.0))
