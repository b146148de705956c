"""MovieLens in its makers' own files: the 100K set's `u.*` and the `*.dat` of 1M and 10M.

Source: F. M. Harper and J. A. Konstan, The MovieLens Datasets, ACM TiiS 5(4), 2015; formats from
the README of each set.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from models.datasets.assembly import Assembly, Item
from models.datasets.dataset import Dataset, DatasetError
from models.datasets.intake import BadRowError, Intake, Progress, fields, milliseconds, number, silent
from models.datasets.vocabulary import Kind

EXPECTS = (
    "MovieLens 100K: u.data, u.item, u.genre (and u.user), or 1M: ratings.dat, movies.dat (and users.dat)"
)
ENCODING = "latin-1"

_100K = ("u.data", "u.item", "u.genre")
_1M = ("ratings.dat", "movies.dat")
# The 100K and 1M sets rate 1..5, the 10M set from 0.5 in halves.
_LOWEST, _HIGHEST = 0.5, 5.0
_SCALE = (1.0, 5.0)
_HALF_STAR_SCALE = (0.5, 5.0)
_NO_GENRE = "(no genres listed)"

_AGES = {
    "1": "under 18",
    "18": "18-24",
    "25": "25-34",
    "35": "35-44",
    "45": "45-49",
    "50": "50-55",
    "56": "56+",
}
_OCCUPATIONS = (
    "other",
    "academic/educator",
    "artist",
    "clerical/admin",
    "college/grad student",
    "customer service",
    "doctor/health care",
    "executive/managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
)


def find(path: Path) -> list[Path]:
    """The file of ratings that `path` is or holds."""
    folder = path.parent if path.is_file() else path
    if path.is_file() and path.name not in ("u.data", "ratings.dat"):
        return []
    return [folder / files[0] for files in (_100K, _1M) if (folder / files[0]).exists()][:1]


def load(path: Path, progress: Progress = silent) -> Dataset:
    """Read a MovieLens folder, or the ratings file in it with those beside it.

    Raises:
        DatasetError: a file of the set is missing, or no rating is usable.
    """
    (ratings,) = find(path)
    folder, small = ratings.parent, ratings.name == "u.data"
    for name in _100K if small else _1M:
        if not (folder / name).exists():
            raise DatasetError(f"{folder} has {ratings.name} but no {name}; expected {EXPECTS}")
    intake = Intake(progress)
    columns: dict[str, Kind] = {
        "age": "number" if small else "category",
        "gender": "category",
        "occupation": "category",
        "zip_code": "token",
    }
    assembly = Assembly("rating", columns, items_known=True)
    if small:
        genres: list[str] = []
        intake.read(folder / "u.genre", lambda line: genres.append(fields(line, "|", 2)[0]), ENCODING)
        intake.read(folder / "u.item", _flagged_items(genres, assembly), ENCODING)
    else:
        intake.read(folder / "movies.dat", _listed_items(assembly), ENCODING)
    users = folder / ("u.user" if small else "users.dat")
    if users.exists():
        intake.read(users, _plain_users(assembly) if small else _coded_users(assembly), ENCODING)
    halves: set[bool] = set()
    intake.read(ratings, _ratings("\t" if small else "::", assembly, halves), ENCODING)
    scale = _HALF_STAR_SCALE if True in halves else _SCALE
    return assembly.finish(ratings, folder.resolve().name, intake.quarantined, scale)


def _flagged_items(genres: Sequence[str], assembly: Assembly) -> Callable[[str], None]:
    """u.item: id | title | release | video release | URL | one flag for each genre."""

    def take(line: str) -> None:
        row = fields(line, "|", 5 + len(genres))
        kinds = [genre for genre, flag in zip(genres, row[5:], strict=True) if flag == "1"]
        assembly.add_item(row[0], Item(row[1], kinds, " ".join([row[1], *kinds])))

    return take


def _listed_items(assembly: Assembly) -> Callable[[str], None]:
    """movies.dat: id :: title :: genre|genre."""

    def take(line: str) -> None:
        item_id, title, listed = fields(line, "::", 3)
        kinds = [genre for genre in listed.split("|") if genre and genre != _NO_GENRE]
        assembly.add_item(item_id, Item(title, kinds, " ".join([title, *kinds])))

    return take


def _plain_users(assembly: Assembly) -> Callable[[str], None]:
    """u.user: id | age | gender | occupation | zip."""

    def take(line: str) -> None:
        user_id, age, *rest = fields(line, "|", 5)
        if age:
            number(age, "age")
        assembly.add_user(user_id, [age, *rest])

    return take


def _coded_users(assembly: Assembly) -> Callable[[str], None]:
    """users.dat: id :: gender :: age group :: occupation number :: zip."""

    def take(line: str) -> None:
        user_id, gender, age, job, zip_code = fields(line, "::", 5)
        if age not in _AGES:
            raise BadRowError("age is no known group")
        if not job.isdecimal() or int(job) >= len(_OCCUPATIONS):
            raise BadRowError("occupation is no known number")
        assembly.add_user(user_id, [_AGES[age], gender, _OCCUPATIONS[int(job)], zip_code])

    return take


def _ratings(separator: str, assembly: Assembly, halves: set[bool]) -> Callable[[str], None]:
    """u.data, ratings.dat: user, item, rating, seconds since 1970."""

    def take(line: str) -> None:
        user_id, item_id, rating, timestamp = fields(line, separator, 4)
        value = number(rating, "rating")
        if not _LOWEST <= value <= _HIGHEST:
            raise BadRowError("rating is off the scale")
        assembly.add_event(user_id, item_id, milliseconds(number(timestamp, "timestamp")), value)
        halves.add(not value.is_integer())

    return take
