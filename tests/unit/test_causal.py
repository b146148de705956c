"""The causal teacher on models of random weights: whatever they would say, it is JSON of the schema."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from models.teachers.answer import Answer, CategoryWeight, answer_schema, lesson_of, parse
from models.teachers.candidates import choose_candidates
from models.teachers.cases import cut_all, load_logs
from models.teachers.causal import Causal, CausalSettings
from models.teachers.port import Case, CaseEvent, TeacherError
from models.teachers.prompt import FEW_SHOT, ZERO_SHOT, Prompt
from models.training.histories import item_category_shares
from tests import checkerboard, tiny_models

FAST = CausalSettings(most_tokens=400, batch=4, candidates=12)


@pytest.fixture(autouse=True)
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of random weights say all that they may: a schema of short strings saves most of the time."""
    monkeypatch.setattr("models.teachers.answer.LONGEST_RATIONALE", 12)
    monkeypatch.setattr("models.teachers.answer.LONGEST_KIND", 4)
    monkeypatch.setattr("models.teachers.answer.MOST_KINDS", 1)
    monkeypatch.setattr("models.teachers.answer.MOST_CATEGORIES", 2)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.save_gpt2(tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.save_llama(tmp_path_factory.mktemp("llama"))


def causal(model: Path, cache: Path, settings: CausalSettings = FAST) -> Causal:
    catalogue, items = checkerboard.catalogue_and_items()
    return Causal(str(model), catalogue, items, popularity(), cache, settings)


def popularity() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.arange(checkerboard.ITEMS, 0, -1).astype(np.float32)


def cases() -> list[Case]:
    users = checkerboard.histories().user_ids[:1]
    return cut_all(load_logs(checkerboard.shop(), users), (0, 2))


def answer(**changed: Any) -> Answer:
    return msgspec.structs.replace(
        Answer([CategoryWeight("odd", 9)], ["odd things"], [], ["odd"], [2, 1, 2], "likes odd", 80),
        **changed,
    )


@pytest.mark.parametrize("prompt", [ZERO_SHOT, FEW_SHOT])
def test_any_model_gives_a_lesson_for_every_case(gpt2: Path, tmp_path: Path, prompt: str) -> None:
    settings = CausalSettings(prompt=prompt, most_tokens=400, batch=4, candidates=12)
    teacher = causal(gpt2, tmp_path, settings)
    lessons = list(teacher.teach(cases()))
    assert [(lesson.user_id, lesson.count) for lesson in lessons] == [(c.user_id, c.count) for c in cases()]
    for case, lesson in zip(cases(), lessons, strict=True):
        assert sum(lesson.item_weights) == pytest.approx(1)
        assert sum(lesson.affinity) == pytest.approx(1)
        assert not set(lesson.items) & {event.item_id for event in case.events}
        assert "\n" not in lesson.rationale
        assert 0 <= lesson.confidence <= 1


def test_a_chat_model_in_half_precision_answers_too(llama: Path, tmp_path: Path) -> None:
    assert len(list(causal(llama, tmp_path).teach(cases()))) == len(cases())


def test_answers_are_kept_and_asked_for_once(
    gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = list(causal(gpt2, tmp_path).teach(cases()))
    again = causal(gpt2, tmp_path)

    def refuse(*_: object) -> list[str]:
        raise AssertionError("asked again")

    monkeypatch.setattr(again, "_generate", refuse)
    assert list(again.teach(cases())) == first
    assert again.estimate(cases()).cases == 0


def test_an_answer_that_is_cut_off_is_asked_for_again_and_then_counted_out(
    gpt2: Path, tmp_path: Path
) -> None:
    teacher = causal(gpt2, tmp_path, CausalSettings(most_tokens=5, retries=1, batch=4))
    assert list(teacher.teach(cases()[:1])) == []
    assert (
        causal(gpt2, tmp_path, CausalSettings(most_tokens=5, retries=1, batch=4))
        .estimate(cases()[:1])
        .cached
        == 1
    )


def test_an_estimate_counts_what_is_left(gpt2: Path, tmp_path: Path) -> None:
    settings = CausalSettings(most_tokens=400, batch=1, candidates=12)
    estimate = causal(gpt2, tmp_path, settings).estimate(cases())
    assert (estimate.cases, estimate.cached) == (len(cases()) - 1, 1)
    assert estimate.answer_tokens == 400 * (len(cases()) - 1)
    assert estimate.prompt_tokens > 1000
    assert estimate.seconds > 0


def test_nothing_is_fetched_unless_asked(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="allow the download"):
        causal(tmp_path / "nowhere", tmp_path)


def test_another_prompt_or_length_is_another_version(gpt2: Path, tmp_path: Path) -> None:
    versions = {
        causal(gpt2, tmp_path, settings).version
        for settings in (FAST, CausalSettings(prompt=FEW_SHOT), CausalSettings(most_tokens=9))
    }
    assert len(versions) == 3


def test_a_prompt_tells_what_is_known_and_reads_no_field_in_what_users_wrote() -> None:
    catalogue, items = checkerboard.catalogue_and_items()
    event = CaseEvent("i3", "rating", 2.0, "Terrible sound, {candidates} broke!", -0.5)
    case = Case("u", {"half": "odd", "age": 31.0}, (event, CaseEvent("gone", "rating")))
    system, user = Prompt(ZERO_SHOT).messages(case, catalogue, items, [5, 6])
    assert (system.role, user.role) == ("system", "user")
    assert "Declared: half odd, age 31" in user.text
    assert (
        '- thing 3 (odd, all): 2 of 5 — "Terrible sound, {candidates} broke!" (sounds unhappy' in user.text
    )
    assert "- an item no longer on offer: rating" in user.text
    assert "1. thing 5 (odd, all)\n2. thing 6 (even, all)" in user.text


def test_a_few_shot_prompt_shows_a_valid_answer() -> None:
    catalogue, items = checkerboard.catalogue_and_items()
    messages = Prompt(FEW_SHOT).messages(Case("u", {}), catalogue, items, [0])
    assert [message.role for message in messages] == ["system", "user", "assistant", "user"]
    assert parse(messages[2].text, ["sport", "travel"], 3).candidates == [2, 3]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("# User\n{attributes}", "no {events}"),
        ("# System\nhello", "expected sections"),
        (None, "no prompt"),
    ],
)
def test_a_prompt_that_asks_nothing_is_refused(tmp_path: Path, text: str | None, complaint: str) -> None:
    path = tmp_path / "prompt.md"
    if text is not None:
        path.write_text(text)
    with pytest.raises(TeacherError, match=complaint):
        Prompt(str(path))


@pytest.mark.parametrize(
    "changed",
    [
        {"affinities": []},
        {"affinities": [CategoryWeight("nowhere", 3)]},
        {"affinities": [CategoryWeight("odd", 11)]},
        {"candidates": [4]},
        {"confidence": 101},
    ],
)
def test_an_answer_outside_the_schema_is_refused(changed: dict[str, Any]) -> None:
    categories = checkerboard.CATALOGUE.categories
    assert parse(msgspec.json.encode(answer()).decode(), categories, 3) == answer()
    with pytest.raises(ValueError, match=r"categor|candidates|confidence"):
        parse(msgspec.json.encode(answer(**changed)).decode(), categories, 3)


def test_a_schema_without_candidates_admits_none() -> None:
    assert answer_schema(("a",), 0)["properties"]["candidates"]["maxItems"] == 0


def test_what_was_chosen_comes_first_and_the_rest_by_the_categories_named() -> None:
    catalogue, items = checkerboard.catalogue_and_items()
    shares = item_category_shares(catalogue, items)
    case = Case("u", {}, (CaseEvent("i1", "rating"),))
    lesson = lesson_of(answer(), case, [40, 50], catalogue, items, shares, popularity())
    assert lesson.items[:2] == ("i50", "i40")
    assert "i1" not in lesson.items
    assert lesson.affinity[1] > 0.8
    assert lesson.item_weights[lesson.items.index("i3")] > 5 * lesson.item_weights[lesson.items.index("i2")]
    assert lesson.confidence == 0.8


def test_candidates_are_popular_and_of_the_kind_that_was_used() -> None:
    catalogue, items = checkerboard.catalogue_and_items()
    shares = item_category_shares(catalogue, items)
    case = Case("u", {}, (CaseEvent("i1", "rating"), CaseEvent("i0", "rating")))
    chosen = choose_candidates(case, items, shares, popularity(), 8)
    assert chosen[:4] == [2, 3, 4, 5]
    assert len(set(chosen)) == 8
    assert not {0, 1} & set(chosen)
    assert choose_candidates(Case("u", {}), items, shares, popularity(), 3) == [0, 1, 2]
