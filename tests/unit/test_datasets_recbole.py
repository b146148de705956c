"""RecBole's atomic files: roles follow from the header, and each kind of bad row is set aside."""

from pathlib import Path

import pytest

from models.datasets import detect
from models.datasets.dataset import DatasetError
from tests.datasets import faults, items, write


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
