"""The teacher that reads, the encoder it reads by, the school it is asked in, and the command that asks."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kindling.cli.teach import teach as teach_command
from models.content import content_vectors
from models.knowledge.space import item_content
from models.teachers.encoder import SentenceEncoder, packaged_encoder
from models.teachers.lessons import read_lessons, read_manifest
from models.teachers.port import Case, CaseEvent, Lesson, TeacherError
from models.teachers.school import School
from models.teachers.text import Text
from tests import checkerboard, tiny_models


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> SentenceEncoder:
    return SentenceEncoder(tiny_models.save_encoder(tmp_path_factory.mktemp("encoder")))


@pytest.fixture(scope="module")
def school() -> School:
    return School.open(checkerboard.shop())


@pytest.fixture
def reader(encoder: SentenceEncoder, school: School) -> Text:
    return Text(encoder, school.catalogue, school.items, school.popularity)


def taught(reader: Text, *items: int, value: float | None = 5.0, sentiment: float | None = None) -> Lesson:
    events = tuple(CaseEvent(f"i{item}", "rating", value, sentiment=sentiment) for item in items)
    (lesson,) = reader.teach([Case("u", {}, events)])
    return lesson


def test_texts_become_unit_vectors_whatever_stands_beside_them(encoder: SentenceEncoder) -> None:
    alone, beside = encoder.encode(["a lamp"]), encoder.encode(["a lamp", "a much longer text", "a lamp"])
    np.testing.assert_allclose(np.linalg.norm(beside, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(alone[0], beside[0], atol=1e-5)
    np.testing.assert_array_equal(beside[0], beside[2])
    assert np.abs(beside[0] - beside[1]).max() > 0.01


def test_vectors_are_kept(encoder: SentenceEncoder, tmp_path: Path) -> None:
    first = encoder.encode(["a", "b"], tmp_path)
    (kept,) = tmp_path.iterdir()
    np.save(kept, first + 1, allow_pickle=False)
    np.testing.assert_array_equal(encoder.encode(["a", "b"], tmp_path), first + 1)
    np.testing.assert_allclose(encoder.encode(["b", "a"], tmp_path), first[::-1], atol=1e-6)


def test_a_path_without_an_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="no sentence encoder"):
        SentenceEncoder(tmp_path)


def test_the_packaged_encoder_knows_what_texts_mean() -> None:
    path = packaged_encoder()
    if path is None:
        pytest.skip("the extra `text` is not installed: no pretrained encoder to test")
    film, sequel, cable = SentenceEncoder(path).encode(
        ["Star Wars", "The Empire Strikes Back", "guitar cable"]
    )
    assert film @ sequel > film @ cable + 0.1


def test_what_reads_alike_is_expected(reader: Text) -> None:
    odd, even = taught(reader, 31, 33), taught(reader, 30, 32)
    assert odd.affinity[1] > even.affinity[1] + 0.2
    assert "odd" in odd.liked
    assert "even" in odd.disliked
    assert "which reads like thing 3" in odd.rationale
    assert not {"i31", "i33"} & set(odd.items)
    assert sum(odd.item_weights) == pytest.approx(1)


def test_with_no_event_the_popular_is_expected(reader: Text, school: School) -> None:
    lesson = taught(reader)
    assert lesson.items[0] == school.items.ids[int(school.popularity.argmax())]
    assert lesson.confidence == 0 < taught(reader, 3).confidence < taught(reader, 3, 5).confidence


def test_where_no_value_is_given_the_mood_of_the_review_counts(reader: Text) -> None:
    events = [CaseEvent("i31", "rating", None, sentiment=mood) for mood in (0.9, -0.9)]
    other = CaseEvent("i30", "rating", None, sentiment=0.0)
    content, unhappy = (next(iter(reader.teach([Case("u", {}, (event, other))]))) for event in events)
    assert content.affinity[1] > unhappy.affinity[1]


def test_a_school_teaches_nothing_of_held_out_users(school: School) -> None:
    warm, held_out = school.warm(), school.held_out()
    assert not {log.user_id for log in warm} & {log.user_id for log in held_out}
    assert len(warm) + len(held_out) == checkerboard.USERS
    assert school.popularity.sum() == sum(log.count for log in school.train)


def test_items_are_described_by_what_training_users_wrote(school: School, tmp_path: Path) -> None:
    folder = checkerboard.write_shop(tmp_path)
    says = {school.train[0].user_id: "squeaky", school.held_out()[0].user_id: "rusty"}
    events = pq.read_table(folder / "events.parquet")
    written = pa.array([says.get(user) for user in events["user_id"].to_pylist()], pa.string())
    place = events.column_names.index("text")
    pq.write_table(events.set_column(place, "text", written), folder / "events.parquet")
    texts = School.open(folder).items.texts
    assert sum("squeaky" in text for text in texts) == school.train[0].count
    assert not any("rusty" in text for text in texts)


def test_content_places_items_by_words_graph_and_meaning(school: School, encoder: SentenceEncoder) -> None:
    plain, meant = school.content(), school.content(encoder)
    assert plain.shape[1] < meant.shape[1]
    unit = meant / np.linalg.norm(meant, axis=1, keepdims=True)
    assert unit[0] @ unit[2] > unit[0] @ unit[1]


def test_training_places_items_by_meaning_where_an_encoder_is_named(school: School, tmp_path: Path) -> None:
    plain = item_content(school.catalogue, school.items, None)
    np.testing.assert_array_equal(plain, content_vectors(school.catalogue, school.items))
    meant = item_content(school.catalogue, school.items, str(tiny_models.save_encoder(tmp_path)))
    assert meant.shape[1] == 2 * plain.shape[1] + 16


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(checkerboard.shop(), tmp_path / "data")
    yield tmp_path


def test_the_command_writes_lessons_and_grades(
    workspace: Path, encoder: SentenceEncoder, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_models.save_encoder(workspace / "encoder")
    teach_command(var=workspace, teacher="text", model=str(model), users=5, exam=True)
    (folder,) = (workspace / "lessons").iterdir()
    assert read_manifest(folder).teacher == "text"
    assert {lesson.count for lesson in read_lessons(folder)} == {0, 1, 2, 3, 5, 10}
    assert (workspace / "teach/results.json").exists()
    assert "30 lessons of text, 0 invalid" in capsys.readouterr().out


def test_the_command_estimates_a_causal_run_before_it_starts(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(tiny_models.save_gpt2(workspace / "gpt2"))
    # Answers as short as this are all cut off: what is looked at is the run, not the lessons.
    teach_command(
        var=workspace, teacher="causal", model=model, users=1, batch=6, answer_tokens=9, hourly_price=2.0
    )
    shown = capsys.readouterr()
    assert "0 cases to ask, 6 answered before" in shown.err
    assert "at 2 an hour" in shown.err
    assert "0 lessons of causal, 6 invalid" in shown.out
    with pytest.raises(TeacherError, match="no language model is named"):
        teach_command(var=workspace, teacher="causal")
