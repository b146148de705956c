"""MovieLens' own files, of 100K and of 1M, each with its genres, codes and scale."""

from pathlib import Path

import pytest

from models.datasets import detect
from models.datasets.dataset import DatasetError
from tests.datasets import faults, items, write

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
