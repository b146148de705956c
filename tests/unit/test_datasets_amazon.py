"""Amazon reviews: events with text, and items described by metadata or by their first reviews."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from models.datasets import detect, topics
from tests.datasets import faults, items


def review(user: str, item: str, time: int, summary: str = "", text: str = "", **more: Any) -> str:
    row = {"reviewerID": user, "asin": item, "unixReviewTime": time, "summary": summary, "reviewText": text}
    return json.dumps({"overall": 4.0, "helpful": [0, 1], **row, **more})


SHELVES = {"lamp": "bright lamp bulb", "rope": "strong rope knot", "soup": "tasty soup bowl"}


def shelf_reviews() -> list[str]:
    return [
        review(f"u{time}", f"item{number}", time, said.title(), f"great price, {said}, love")
        for number, said in enumerate(list(SHELVES.values()) * 2)
        for time in range(4)
    ]


def test_amazon_items_without_metadata_get_titles_and_topics_from_what_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "reviews.json.gz").write_bytes(gzip.compress("\n".join(shelf_reviews()).encode()))
    dataset = detect.load(folder)
    assert dataset.events.num_rows == 24
    assert dataset.catalogue.event_types == {"review": 1.0}
    assert str(dataset.events["text"][0]).startswith("great price, ")
    for number, said in enumerate(list(SHELVES.values()) * 2):
        row = items(dataset)[f"item{number}"]
        assert row["title"] == said.title()
        assert set(row["categories"]) == set(said.split())


def test_amazon_later_reviews_do_not_change_what_an_item_is(tmp_path: Path) -> None:
    first = [review(f"u{time}", "a", time, "Fine Rope", "a rope") for time in range(10)]
    first += [review(f"u{time}", "b", time, "Fine Soup", "a soup") for time in range(10)]
    later = [review(f"v{time}", "a", 99, "Fine Soup", "like soup, soup it is") for time in range(30)]
    (tmp_path / "early.jsonl").write_text("\n".join(first))
    (tmp_path / "all.jsonl").write_text("\n".join([*later, *first]))
    early, late = detect.load(tmp_path / "early.jsonl"), detect.load(tmp_path / "all.jsonl")
    assert items(early) == items(late)
    assert items(late)["a"]["title"] == "Fine Rope"


def test_amazon_bad_rows_of_each_kind_are_set_aside(tmp_path: Path) -> None:
    good = review("u", "a", 5, "Rope")
    rows = [good, "{broken", '{"asin": "a"}', review("", "a", 6), review("u", "", 6), good]
    rows += [review("u", "a", 7, overall=9.0), review("u", "a", -7), '["a"]', review("v", "a", 7)]
    (tmp_path / "r.jsonl").write_text("\n".join(rows))
    dataset = detect.load(tmp_path / "r.jsonl")
    assert faults(dataset) == [
        ("r.jsonl", 2, "not valid JSON"),
        ("r.jsonl", 3, "Object missing required field `reviewerID`"),
        ("r.jsonl", 4, "user_id is missing"),
        ("r.jsonl", 5, "item_id is missing"),
        ("r.jsonl", 6, "duplicate event"),
        ("r.jsonl", 7, "overall is off the scale"),
        ("r.jsonl", 8, "timestamp is out of range"),
        ("r.jsonl", 9, "Expected `object`, got `array`"),
    ]
    assert dataset.events.num_rows == 2


def test_amazon_metadata_names_the_items_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    as_json = {"asin": "a", "title": "Rope", "brand": "Knots", "categories": [["Shop", "Ropes", "Strong"]]}
    as_python = {
        "asin": "b",
        "title": "Soup's on",
        "category": ["Shop", "Food"],
        "description": ["Hot", "stuff"],
    }
    unseen = {"asin": "c", "title": "Never reviewed"}
    (tmp_path / "meta_shop.json").write_text(
        "\n".join([json.dumps(as_json), repr(as_python), json.dumps(unseen), "x("])
    )
    (tmp_path / "shop.json").write_text(
        "\n".join([review("u", "a", 1), review("u", "b", 2), review("u", "z", 3)])
    )
    dataset = detect.load(tmp_path)
    assert items(dataset)["a"] == {
        "item_id": "a",
        "title": "Rope",
        "categories": ["Ropes", "Strong"],
        "text": "Rope Knots Ropes Strong",
    }
    assert items(dataset)["b"]["categories"] == ["Food"]
    assert items(dataset)["b"]["text"] == "Soup's on Food Hot stuff"
    assert set(items(dataset)) == {"a", "b"}
    assert faults(dataset) == [("meta_shop.json", 4, "not valid JSON"), ("shop.json", 3, "unknown item")]


def test_amazon_compressed_data_that_breaks_off_keeps_what_came_before(tmp_path: Path) -> None:
    rows = [
        review(f"u{n}", f"i{n % 7}", n, f"Summary {n * n}", f"text {n * 7919 % 1000}") for n in range(2000)
    ]
    whole = gzip.compress("\n".join(rows).encode())
    (tmp_path / "r.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    dataset = detect.load(tmp_path)
    assert 0 < dataset.events.num_rows < 2000
    assert dataset.quarantined[-1].reason == "compressed data breaks off here"


def test_topics_are_found_in_one_text_an_item_too() -> None:
    found = topics.derive({f"i{n}": [("rope knot", "soup bowl")[n % 2]] for n in range(10)} | {"mute": []})
    assert set(found["i0"]) == {"rope", "knot"}
    assert set(found["i1"]) == {"soup", "bowl"}
    assert found["mute"] == ("other",)


@pytest.mark.parametrize(
    "fault", ['{"reviewerID": "\\ud800", "asin": "a", "unixReviewTime": 1}', "{'asin': '\\ud800'}"]
)
def test_amazon_half_a_surrogate_pair_is_no_text(tmp_path: Path, fault: str) -> None:
    name = "meta.json" if "'" in fault else "r.json"
    rows = {"r.json": [review("u", "a", 5)], "meta.json": ['{"asin": "a"}']}
    rows[name].append(fault)
    for file, lines in rows.items():
        (tmp_path / file).write_text("\n".join(lines))
    dataset = detect.load(tmp_path)
    assert faults(dataset) == [(name, 2, "not valid JSON")]
