"""Knowledge: sentiment of reviews, triples and their graph, views fused, descriptions enriched."""

from pathlib import Path

import numpy as np
import pytest

from feature_repo.catalogue import Catalogue, Items
from models.datasets.dataset import DatasetError
from models.knowledge.descriptions import enrich
from models.knowledge.graph import Triple, build_graph, item_node, propagate
from models.knowledge.sentiment import aspects, polarity
from models.knowledge.triples import catalogue_triples, read_triples
from models.knowledge.views import ViewError, fuse_views

CATALOGUE = Catalogue(name="shop", categories=("cable", "drum"))
ITEMS = Items(
    ids=["a", "b", "c", "d"],
    titles=["Monster cable 1998", "Monster lead", "Monster jack", "Snare"],
    texts=["cable", "a lead of 1994", "jack", "drum from 2003"],
    categories=[(0,), (0,), (), (1,)],
)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("I love it, great sound", "It broke, terrible sound"),
        ("good", "not good"),
        ("very good", "good"),
        ("no problems at all", "problems"),
        ("a table", "a poor table"),
    ],
)
def test_polarity_orders_texts_as_a_reader_would(better: str, worse: str) -> None:
    assert -1 <= polarity(worse) < polarity(better) <= 1


def test_a_text_without_a_word_that_judges_is_neutral() -> None:
    assert polarity("") == polarity("It has four strings.") == 0


def test_aspects_are_judged_sentence_by_sentence() -> None:
    found = aspects("Great sound! The build is cheap and it broke. It came in a box.")
    assert found["sound"] > 0 > found["build"]
    assert "comfort" not in found


def test_the_catalogue_knows_categories_decades_and_brands() -> None:
    triples = set(catalogue_triples(CATALOGUE, ITEMS))
    assert Triple(item_node("a"), "category", "category:cable") in triples
    assert Triple(item_node("a"), "decade", "decade:1990s") in triples
    assert {t.head for t in triples if t.tail == "brand:Monster"} == {item_node(i) for i in "abc"}
    assert not [t for t in triples if t.head == item_node("d") and t.relation == "brand"]


def test_knowledge_of_recbole_ties_entities_to_items(tmp_path: Path) -> None:
    link, kg = tmp_path / "x.link", tmp_path / "x.kg"
    link.write_text("item_id:token\tentity_id:token\na\tm.1\n")
    kg.write_text("head_id:token\trelation_id:token\ttail_id:token\nm.1\tmade.by\tm.2\n")
    assert read_triples(link, kg) == [Triple(item_node("a"), "made.by", "entity:m.2")]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "cannot be read"),
        ("head\trelation\ttail\n", "line 1: expected the header"),
        ("head_id:token\trelation_id:token\ttail_id:token\nm.1\tmade.by\n", "line 2: expected 3 values"),
    ],
)
def test_knowledge_that_is_not_of_the_format_is_refused(
    tmp_path: Path, text: str | None, complaint: str
) -> None:
    link, kg = tmp_path / "x.link", tmp_path / "x.kg"
    link.write_text("item_id:token\tentity_id:token\n")
    if text is not None:
        kg.write_text(text)
    with pytest.raises(DatasetError, match=complaint):
        read_triples(link, kg)


def test_an_item_without_features_is_placed_by_what_it_shares() -> None:
    triples = [
        Triple(item_node(i), "brand", b) for i, b in (("a", "x"), ("b", "x"), ("c", "y"), ("d", "y"))
    ]
    features = np.array([[1, 0], [0, 0], [0, 1], [0, 0]], np.float32)
    placed = propagate(build_graph(ITEMS.ids, triples), features)
    assert placed[1, 0] > 0 == placed[1, 1]
    assert placed[3, 1] > 0 == placed[3, 0]
    np.testing.assert_allclose(propagate(build_graph(ITEMS.ids, [*triples, triples[0]]), features), placed)


def test_knowledge_travels_along_edges_between_entities() -> None:
    triples = [
        Triple(item_node("a"), "by", "x"),
        Triple("x", "of", "y"),
        Triple(item_node("b"), "by", "y"),
    ]
    placed = propagate(build_graph(ITEMS.ids, triples), np.eye(4, dtype=np.float32))
    assert placed[1, 0] > 0
    assert placed[2, 0] == 0


def test_a_graph_without_triples_leaves_features_as_they_point() -> None:
    features = np.eye(4, 2, dtype=np.float32)
    placed = propagate(build_graph(ITEMS.ids, []), features, steps=1)
    np.testing.assert_allclose(placed, features / 2)


def test_views_weigh_the_same_and_a_view_that_does_not_know_an_item_says_nothing() -> None:
    rng = np.random.default_rng(0)
    loud, quiet = (rng.normal(size=(50, 3)).astype(np.float32) * scale for scale in (100, 0.01))
    known = np.arange(50) < 25
    fused = fuse_views({"loud": loud, "quiet": quiet}, {"quiet": known})
    assert fused.shape == (50, 6)
    assert not fused[~known, 3:].any()
    lengths = (fused**2).sum(axis=1)
    assert lengths[known].mean() == pytest.approx(lengths[~known].mean(), rel=0.3)
    both = fused[known] ** 2
    assert both[:, :3].mean() == pytest.approx(both[:, 3:].mean(), rel=0.4)


def test_a_row_of_zeros_is_not_known_and_a_new_item_needs_one_view_alone() -> None:
    text, behaviour = np.ones((2, 2), np.float32), np.array([[1, 1], [0, 0]], np.float32)
    fused = fuse_views({"text": text, "behaviour": behaviour})
    np.testing.assert_allclose(fused[1], [2**0.5, 2**0.5, 0, 0], rtol=1e-6)


def test_views_that_do_not_fit_are_refused() -> None:
    view = np.ones((2, 1), np.float32)
    with pytest.raises(ViewError, match="no view"):
        fuse_views({})
    with pytest.raises(ViewError, match="'text' has 3 rows"):
        fuse_views({"graph": view, "text": np.ones((3, 1), np.float32)})
    with pytest.raises(ViewError, match="masks of no view: sound"):
        fuse_views({"graph": view}, {"sound": np.ones(2, bool)})


def test_a_description_tells_what_reviewers_say() -> None:
    reviews = {
        "a": ["Great sound, sturdy cable for the stage", "Love the sound on stage"],
        "b": ["The cable broke. Terrible quality, stage left silent"],
    }
    described = enrich(CATALOGUE, ITEMS, reviews).texts
    assert described[0].startswith("Monster cable 1998. cable. ")
    assert "stage" in described[0]
    assert "good sound" in described[0]
    assert described[0].endswith("well liked")
    assert "poor build" in described[1]
    assert described[3].startswith("Snare. drum")
    only = enrich(CATALOGUE, ITEMS, reviews, np.array([0])).texts
    assert (only[0], only[1]) == (described[0], ITEMS.texts[1])
