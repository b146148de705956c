"""Whatever a line says, it never stops a load, and the good lines around it are kept."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.datasets import detect
from models.datasets.dataset import Dataset

CELLS = st.one_of(
    st.sampled_from(
        [
            "u",
            "i",
            "1",
            "5",
            "978300760",
            "1e400",
            "nan",
            "-1",
            "",
            " ",
            "\ufeff",
            "\x00",
            "{}",
            "[",
            "\\ud800",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=8),
)
FIELDS = ("reviewerID", "asin", "unixReviewTime", "overall", "reviewText", "summary", "title", "categories")
JUNK = st.one_of(
    st.lists(CELLS, max_size=6).flatmap(
        lambda cells: st.sampled_from(["\t", "::", "|"]).map(lambda s: s.join(cells))
    ),
    st.dictionaries(st.sampled_from(FIELDS), CELLS | st.floats() | st.none()).map(json.dumps),
    st.dictionaries(st.sampled_from(FIELDS), CELLS | st.lists(CELLS, max_size=2)).map(repr),
)
GOOD = {
    "x.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\ti\t5\t1",
    "x.item": "item_id:token\ttitle:token_seq\tclass:token_seq\ni\tI\tc",
    "x.user": "user_id:token\tage:float\nu\t3",
    "ratings.dat": "u::i::5::1",
    "movies.dat": "i::I::c",
    "users.dat": "u::F::1::1::1",
    "reviews.json": '{"reviewerID": "u", "asin": "i", "unixReviewTime": 1}',
    "meta.json": '{"asin": "i", "title": "I"}',
}


@pytest.mark.parametrize(
    "known",
    [
        ("x.inter", "x.item", "x.user"),
        ("ratings.dat", "movies.dat", "users.dat"),
        ("reviews.json", "meta.json"),
    ],
)
@settings(max_examples=60)
@given(junk=st.lists(st.tuples(st.integers(0, 2), JUNK), max_size=12))
def test_no_row_whatever_stops_a_load(known: Sequence[str], junk: list[tuple[int, str]]) -> None:
    with TemporaryDirectory() as folder:
        for place, name in enumerate(known):
            rows = [row for number, row in junk if number % len(known) == place]
            (Path(folder) / name).write_text("\n".join([GOOD[name], *rows]), encoding="utf-8")
        dataset = detect.load(Path(folder))
        dataset.save(Path(folder) / "out")
        assert Dataset.load(Path(folder) / "out") == dataset
    assert ("u", "i") in zip(
        *(dataset.events[name].to_pylist() for name in ("user_id", "item_id")), strict=True
    )
