"""Every source of data comes in as one catalogue and one event stream, and what is bad stays out."""

import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from feature_repo.catalogue import load_catalogue, load_items
from models.datasets import detect
from models.datasets.dataset import EVENT_SCHEMA, Dataset, DatasetError, event_id, user_schema
from models.datasets.intake import BadRowError, milliseconds
from models.datasets.vocabulary import UnsuitableError, attribute, bucket_edges, categories, within

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("KINDLING_DATA") or ROOT / "../shared/data").resolve()

INTER = """user_id:token\titem_id:token\trating:float\ttimestamp:float
ann\tkite\t5\t300
bob\tkite\t2\t100
ann\tdrum\t4\t200
bob\tdrum\t1\t300
"""
ITEM = """item_id:token\ttoy_title:token_seq\tcolour:token\tclass:token_seq
kite\tRed Kite\tred\tOutdoor Air
drum\tTin Drum\tgrey\tMusic
"""


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    """A folder in RecBole's format: two users, two items, four ratings."""
    folder = tmp_path / "toys"
    folder.mkdir()
    (folder / "toys.inter").write_text(INTER)
    (folder / "toys.item").write_text(ITEM)
    return folder


def real(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"NEEDS REAL DATA: {path} is absent; name its folder in KINDLING_DATA")
    return path


def test_events_come_in_order_of_time_whatever_the_order_of_the_file(toys: Path) -> None:
    events = detect.load(toys).events
    assert events.schema == EVENT_SCHEMA
    times = [time.timestamp() for time in list[Any](events["event_time"].to_pylist())]
    assert times == [100, 200, 300, 300]
    header, *rows = INTER.splitlines()
    (toys / "toys.inter").write_text("\n".join([header, *reversed(rows)]))
    assert detect.load(toys).events.equals(events)


def test_an_event_id_depends_on_each_part_of_the_event() -> None:
    ids = {event_id("u", "i", 1, "view"), event_id("u2", "i", 1, "view"), event_id("u", "i2", 1, "view")}
    ids |= {event_id("u", "i", 2, "view"), event_id("u", "i", 1, "rating"), event_id("ui", "", 1, "view")}
    assert len(ids) == 6


def test_a_saved_data_set_loads_as_it_was(toys: Path, tmp_path: Path) -> None:
    with (toys / "toys.inter").open("a") as file:
        file.write("ann\tghost\t5\t400\n")
    (toys / "toys.user").write_text("user_id:token\tflat:token\nann\tx\n")
    dataset = detect.load(toys)
    dataset.save(tmp_path / "out")
    dataset.save(tmp_path / "out")  # in place of the first
    loaded = Dataset.load(tmp_path / "out")
    assert loaded == dataset
    assert loaded.quarantined
    assert loaded.skipped == {"flat": "the same for all users"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "toys"]
    catalogue = load_catalogue(tmp_path / "out")
    items = load_items(tmp_path / "out", catalogue)
    assert items.titles == ["Red Kite", "Tin Drum"]
    assert [catalogue.categories[c] for c in items.categories[0]] == ["Outdoor", "Air"]


def test_saving_never_replaces_a_folder_that_holds_anything_else(toys: Path) -> None:
    dataset = detect.load(toys)
    with pytest.raises(DatasetError, match=r"holds toys\.inter, which is not part of a data set"):
        dataset.save(toys)
    with pytest.raises(DatasetError, match="is a file"):
        dataset.save(toys / "toys.inter")
    assert (toys / "toys.inter").read_text() == INTER


def test_a_save_that_fails_leaves_the_old_data_set(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = detect.load(toys)
    dataset.save(tmp_path / "out")

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(DatasetError, match="no space left"):
        dataset.save(tmp_path / "out")
    assert Dataset.load(tmp_path / "out") == dataset
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "toys"]


@pytest.mark.parametrize(
    "missing", ["events.parquet", "users.parquet", "quarantine.jsonl", "catalogue.json"]
)
def test_a_saved_data_set_with_a_file_missing_says_which(toys: Path, tmp_path: Path, missing: str) -> None:
    detect.load(toys).save(tmp_path / "out")
    (tmp_path / "out" / missing).unlink()
    with pytest.raises(DatasetError, match=missing):
        Dataset.load(tmp_path / "out")


def test_a_wrong_folder_says_what_was_expected_and_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    (tmp_path / "notes").mkdir()
    with pytest.raises(DatasetError) as caught:
        detect.load(tmp_path)
    message = str(caught.value)
    assert all(word in message for word in ("NAME.inter", "u.data", "ratings.dat", "reviewerID"))
    assert message.endswith("found: holiday.jpg, notes/")
    with pytest.raises(DatasetError, match="does not exist"):
        detect.load(tmp_path / "nowhere")


def test_a_source_of_nothing_but_bad_rows_is_refused_with_an_example(toys: Path) -> None:
    (toys / "toys.inter").write_text(INTER.splitlines()[0] + "\nann\tghost\t5\t1\nann\tkite\tfive\t1\n")
    with pytest.raises(
        DatasetError, match=r"no usable event: 2 bad rows, such as toys\.inter line 3: rating"
    ):
        detect.load(toys)
    (toys / "toys.inter").write_text(INTER.splitlines()[0] + "\n")
    with pytest.raises(DatasetError, match="no usable event: it is empty"):
        detect.load(toys)


def test_timestamps_may_be_seconds_or_milliseconds_but_not_nonsense() -> None:
    assert milliseconds(881_250_949) == milliseconds(881_250_949_000) == 881_250_949_000
    for stamp in (-1.0, 1e18):
        with pytest.raises(BadRowError, match="out of range"):
            milliseconds(stamp)


def test_a_number_is_cut_at_quantiles_into_buckets_none_of_them_empty() -> None:
    assert bucket_edges([float(n) for n in range(1, 61)]) == pytest.approx(
        [10.83, 20.67, 30.5, 40.33, 50.17], abs=0.01
    )
    skewed = attribute("visits", "number", ["0"] * 90 + [str(n) for n in range(10)], 100)
    assert {skewed.slot(value) for value in range(10)} == set(range(skewed.width))


def test_a_token_is_a_number_only_if_it_looks_like_a_quantity() -> None:
    ages = [str(18 + n % 50) for n in range(1000)]
    assert attribute("age", "token", ages, 1000).kind == "number"
    assert attribute("job", "token", [str(n % 21) for n in range(1000)], 1000).kind == "category"
    with pytest.raises(UnsuitableError, match="500 values for 1000 users"):
        attribute("zip", "token", [f"{n % 500:05}" for n in range(1000)], 1000)


def test_a_category_needs_ten_users_to_a_value() -> None:
    assert attribute("town", "token", ["b", "a", "b", None] * 10, 40).values == ("b", "a")
    with pytest.raises(UnsuitableError, match="5 values for 40 users: more than 4"):
        attribute("town", "token", list("abcde") * 8, 40)
    with pytest.raises(UnsuitableError, match="empty for all users"):
        attribute("town", "token", [None] * 40, 40)


def test_categories_past_the_limit_become_other() -> None:
    names = categories([[f"c{n}"] * (400 - n) for n in range(400)])
    assert len(names) == 256
    assert names[:2] == ("c0", "c1")
    assert names[-1] == "other"
    assert within(frozenset(names), ["c0", "c399", "c398", "c0"]) == ["c0", "other"]


@pytest.mark.data
def test_movielens_100k_loads_whole() -> None:
    dataset = detect.load(real("ml-100k"))
    assert (dataset.users.num_rows, dataset.items.num_rows, dataset.events.num_rows) == (943, 1682, 100_000)
    assert dataset.quarantined == ()
    assert [a.name for a in dataset.catalogue.attributes] == ["age", "gender", "occupation"]
    assert dataset.catalogue.attributes[0].kind == "number"
    assert set(dataset.skipped) == {"zip_code"}
    assert len(dataset.catalogue.categories) == 19
    assert dataset.catalogue.value_range == (1.0, 5.0)
    assert dataset.users.schema == user_schema(dataset.catalogue)
    assert dataset.users["age"].null_count == 0


@pytest.mark.data
def test_amazon_reviews_load_whole_with_topics_that_cover_nearly_all_items() -> None:
    dataset = detect.load(real("amazon-musical-instruments"))
    assert (dataset.users.num_rows, dataset.items.num_rows, dataset.events.num_rows) == (1429, 900, 10_261)
    assert dataset.quarantined == ()
    assert {"guitar", "cable", "pedal", "strap"} <= set(dataset.catalogue.categories)
    assert not {"great", "price", "good", "love"} & set(dataset.catalogue.categories)
    named = [names for names in dataset.items["categories"].to_pylist() if names != ["other"]]
    assert len(named) > 0.98 * dataset.items.num_rows
