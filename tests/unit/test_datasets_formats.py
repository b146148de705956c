"""Each format is read by its own rules; a bad row is set aside with its file and line, and no more."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from models.datasets import detect, topics
from models.datasets.dataset import Dataset, DatasetError


def write(folder: Path, **files: str) -> Path:
    """Files in a new folder; `__` in a name stands for its dot."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content.encode("latin-1"))
    return folder


def faults(dataset: Dataset) -> list[tuple[str, int, str]]:
    return [(bad.file, bad.line, bad.reason) for bad in dataset.quarantined]


def items(dataset: Dataset) -> dict[str, dict[str, Any]]:
    return {row["item_id"]: row for row in dataset.items.to_pylist()}


# --- RecBole ---------------------------------------------------------------------------------------------


def test_recbole_bad_rows_of_each_kind_are_set_aside(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "shop",
        shop__inter="user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "u1\ti1\t5\t10\n"  # line 2, good
        "u1\ti1\t5\n"
        "u1\ti1\tfive\t11\n"
        "u1\ti1\tnan\t11\n"
        "u1\ti1\t5\tnoon\n"
        "u1\ti1\t5\t-9\n"
        "\ti1\t5\t11\n"
        "u1\t\t5\t11\n"
        "u1\ti9\t5\t11\n"
        "u1\ti1\t4\t10\n"
        "\n"  # blank lines are no rows
        "u2\ti2\t1\t12\n",
        shop__item="item_id:token\tname:token_seq\tgenre:token_seq\ni1\tOne\tx\ni1\tAgain\tx\n\tNone\tx\ni2\tTwo\ty\textra\ni2\tTwo\ty\n",
        shop__user="user_id:token\theight:float\nu1\t1.8\nu1\t1.9\nu2\ttall\nu3\t1.5\n\t1.7\nu4\t\n",
    )
    dataset = detect.load(folder)
    assert faults(dataset) == [
        ("shop.item", 3, "duplicate item"),
        ("shop.item", 4, "item_id is missing"),
        ("shop.item", 5, "expected 3 fields, found 4"),
        ("shop.user", 3, "duplicate user"),
        ("shop.user", 4, "height is not a number"),
        ("shop.user", 6, "user_id is missing"),
        ("shop.inter", 3, "expected 4 fields, found 3"),
        ("shop.inter", 4, "rating is not a number"),
        ("shop.inter", 5, "rating is not a number"),
        ("shop.inter", 6, "timestamp is not a number"),
        ("shop.inter", 7, "timestamp is out of range"),
        ("shop.inter", 8, "user_id is missing"),
        ("shop.inter", 9, "item_id is missing"),
        ("shop.inter", 10, "unknown item"),
        ("shop.inter", 11, "duplicate event"),
    ]
    assert dataset.quarantined[6].row == "u1\ti1\t5"
    assert dataset.events.num_rows == 2
    users = dict(
        zip(dataset.users["user_id"].to_pylist(), dataset.users["height"].to_pylist(), strict=True)
    )
    assert users == {"u1": 1.8, "u3": 1.5, "u4": None, "u2": None}  # u2 is known by an event alone


def test_recbole_roles_follow_from_names_and_types(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "books",
        books__inter="timestamp:float\tuser_id:token\titem_id:token\n5\tu1\ti1\n6\tu1\ti2\n",
        books__item="categories:token_seq\tprice:float\titem_id:token\tauthor:token\t"
        "book_title:token_seq\tcover:float_seq\n"
        "['Sea Tales', 'Old']\t3.5\ti1\tM. Brine\tThe Gull\t0.1 0.2\n\t4\ti2\t\t\t0.3\n",
        books__user="user_id:token\tlikes:token_seq\nu1\ta b\n",
    )
    dataset = detect.load(folder)
    assert dataset.catalogue.event_types == {"view": 1.0}
    assert dataset.catalogue.value_range is None
    assert dataset.events["value"].to_pylist() == [None, None]
    gull = items(dataset)["i1"]
    assert gull["title"] == "The Gull"
    assert gull["categories"] == ["Sea Tales", "Old"]
    assert gull["text"] == "The Gull ['Sea Tales', 'Old'] M. Brine"
    assert items(dataset)["i2"]["title"] == "i2"
    assert dataset.skipped == {"likes": "a sequence, not one value"}


def test_recbole_without_item_file_takes_the_items_from_the_events(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "x", x__inter="user_id:token\titem_id:token\ttimestamp:float\nu\ti2\t1\nu\ti1\t2\n"
    )
    dataset = detect.load(folder / "x.inter")
    assert dataset.catalogue.name == "x"
    assert list(items(dataset)) == ["i2", "i1"]
    assert dataset.catalogue.categories == ("other",)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("user_id\titem_id:token\ttimestamp:float", r"line 1: column 1 is 'user_id', expected name:type"),
        ("user_id:token\titem_id:token", "no column timestamp:float"),
        ("user_id:token\tthing:token\ttimestamp:float", "no column item_id:token among user_id, thing"),
    ],
)
def test_recbole_headers_that_say_too_little_are_refused(tmp_path: Path, header: str, message: str) -> None:
    folder = write(tmp_path / "x", x__inter=f"{header}\n1\t1\t1\n")
    with pytest.raises(DatasetError, match=message):
        detect.load(folder)


def test_recbole_with_several_data_sets_asks_for_one(tmp_path: Path) -> None:
    rows = "user_id:token\titem_id:token\ttimestamp:float\nu\ti\t1\n"
    folder = write(tmp_path / "x", a__inter=rows, b__inter=rows)
    with pytest.raises(DatasetError, match=r"2 \.inter files, a\.inter, b\.inter: name the one to load"):
        detect.load(folder)
    assert detect.load(folder / "b.inter").events.num_rows == 1


def test_recbole_text_that_cannot_be_decoded_is_set_aside(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "x", x__inter="user_id:token\titem_id:token\ttimestamp:float\nu\tcaf\xe9\t1\nu\ti\t1\n"
    )
    assert faults(detect.load(folder)) == [("x.inter", 2, "not UTF-8 text")]


# --- MovieLens -------------------------------------------------------------------------------------------

GENRES = "unknown|0\nComedy|1\nFilm-Noir|2\n\n"


def test_movielens_100k_files(tmp_path: Path) -> None:
    users = "".join(f"{n}|{20 + n % 30}|{'MF'[n % 2]}|baker|{n:05}\n" for n in range(1, 41))
    folder = write(
        tmp_path / "ml",
        u__genre=GENRES,
        u__item="1|Caf\xe9 (1990)|01-Jan-1990||url|0|1|1\n2|Fog (1991)|||url|0|0|1\n3|Cut (1992)|||url|1\n",
        u__user=users + "41|old|M|baker|x\n",
        u__data="1\t1\t5\t100\n1\t2\t3\t100\n2\t1\t6\t90\n2\t3\t3\t90\n2\t2\t1\t90\n",
    )
    dataset = detect.load(folder)
    assert items(dataset)["1"]["title"] == "Caf\xe9 (1990)"
    assert items(dataset)["1"]["categories"] == ["Comedy", "Film-Noir"]
    assert dataset.catalogue.categories == ("Film-Noir", "Comedy")
    assert [a.name for a in dataset.catalogue.attributes] == ["age", "gender"]
    assert dataset.skipped == {
        "occupation": "the same for all users",
        "zip_code": "a different value for every user",
    }
    assert dataset.catalogue.value_range == (1.0, 5.0)
    assert faults(dataset) == [
        ("u.item", 3, "expected 8 fields, found 6"),
        ("u.user", 41, "age is not a number"),
        ("u.data", 3, "rating is off the scale"),
        ("u.data", 4, "unknown item"),
    ]
    assert dataset.events["user_id"].to_pylist()[0] == "2"


def test_movielens_1m_files(tmp_path: Path) -> None:
    more = "".join(
        f"{n}::{'FM'[n % 2]}::{(1, 56)[n % 2]}::{10 + n % 2 * 6}::{n:05}\n" for n in range(10, 30)
    )
    folder = write(
        tmp_path / "ml-1m",
        movies__dat="7::Fog: The Return (1991)::Comedy|Film-Noir\n8::Nothing (1992)::(no genres listed)\n",
        users__dat="1::F::1::10::48067\n2::M::56::16::70072\n3::M::2::16::1\n4::M::25::99::1\n" + more,
        ratings__dat="1::7::5::978300760\n2::8::3::978300761\n2::8::bad::978300762\n",
    )
    dataset = detect.load(folder / "ratings.dat")
    assert dataset.catalogue.name == "ml-1m"
    assert items(dataset)["7"]["categories"] == ["Comedy", "Film-Noir"]
    assert items(dataset)["8"]["categories"] == []
    assert dataset.users.to_pylist()[1] == {
        "user_id": "2",
        "age": "56+",
        "gender": "M",
        "occupation": "self-employed",
    }
    assert faults(dataset) == [
        ("users.dat", 3, "age is no known group"),
        ("users.dat", 4, "occupation is no known number"),
        ("ratings.dat", 3, "rating is not a number"),
    ]


def test_movielens_half_stars_widen_the_scale_and_users_may_be_absent(tmp_path: Path) -> None:
    folder = write(tmp_path / "ml", movies__dat="1::A::Comedy\n", ratings__dat="1::1::3.5::5\n2::1::1::5\n")
    dataset = detect.load(folder)
    assert dataset.catalogue.value_range == (0.5, 5.0)
    assert dataset.users.column_names == ["user_id"]


def test_movielens_with_a_file_missing_says_which(tmp_path: Path) -> None:
    folder = write(tmp_path / "ml", u__data="1\t1\t5\t100\n", u__genre=GENRES)
    with pytest.raises(DatasetError, match=r"has u\.data but no u\.item"):
        detect.load(folder)


# --- Amazon ----------------------------------------------------------------------------------------------


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
