"""RecBole's atomic files: `.inter`, `.item` and `.user`, tab-separated under a header of `name:type`.

Format: https://recbole.io/docs/user_guide/data/atomic_files.html. A column's role follows from its
name and type, so any data set in this form loads, not only those seen before.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from models.datasets.assembly import Assembly, Item
from models.datasets.dataset import Dataset, DatasetError
from models.datasets.intake import (
    BadRowError,
    Intake,
    Progress,
    fields,
    first_lines,
    milliseconds,
    number,
    silent,
)
from models.datasets.vocabulary import Kind

EXPECTS = "RecBole atomic files: NAME.inter (and NAME.item, NAME.user) with a header like user_id:token"
TYPES = ("token", "float", "token_seq", "float_seq")

_KINDS: dict[str, Kind] = {"token": "token", "float": "number"}
_CATEGORY_NAMES = ("class", "genre", "categor")


class Column(NamedTuple):
    """One column of an atomic file: its place, name and declared type."""

    place: int
    name: str
    type: str


def find(path: Path) -> list[Path]:
    """The `.inter` files that `path` is or holds, at most one of which can be loaded."""
    if path.is_file():
        return [path.with_suffix(".inter")] if path.suffix in (".inter", ".item", ".user") else []
    files = sorted(path.glob("*.inter"))
    return [file for file in files if file.stem == path.name] or files


def load(path: Path, progress: Progress = silent) -> Dataset:
    """Read a folder of atomic files, or the `.inter` file and those beside it.

    A rating column makes events of type "rating", its absence events of type "view". Item columns of
    words go to the item's text; those of numbers are left out.

    Raises:
        DatasetError: no or several `.inter` files, a malformed header, or a role without a column.
    """
    files = find(path)
    if len(files) != 1:
        names = ", ".join(file.name for file in files)
        raise DatasetError(f"{path} holds {len(files)} .inter files, {names}: name the one to load")
    inter = files[0]
    item, user = inter.with_suffix(".item"), inter.with_suffix(".user")
    intake = Intake(progress)
    header = _header(inter)
    rating = _role(header, ("float",), "rating", "score", "stars", "overall")
    user_columns = _header(user) if user.exists() else []
    assembly = Assembly(
        event_type="rating" if rating else "view",
        columns={
            c.name: _KINDS[c.type] for c in user_columns if c.type in _KINDS and not _is_id(c, "user")
        },
        items_known=item.exists(),
    )
    if item.exists():
        intake.read(item, _items(item, _header(item), assembly), header=1)
    if user.exists():
        intake.read(user, _users(user, user_columns, assembly), header=1)
    intake.read(inter, _events(inter, header, rating, assembly), header=1)
    dataset = assembly.finish(inter, inter.stem, intake.quarantined)
    sequences = {c.name: "a sequence, not one value" for c in user_columns if c.type not in _KINDS}
    return replace(dataset, skipped={**dataset.skipped, **sequences})


def _header(path: Path) -> list[Column]:
    line = b"".join(first_lines(path, 1)).decode("utf-8-sig", errors="replace").rstrip("\r\n")
    columns = []
    for place, field in enumerate(line.split("\t")):
        name, _, declared = field.strip().rpartition(":")
        if not name or declared not in TYPES:
            expected = f"expected name:type, type one of {', '.join(TYPES)}"
            raise DatasetError(f"{path} line 1: column {place + 1} is {field[:60]!r}, {expected}")
        columns.append(Column(place, name, declared))
    return columns


def _is_id(column: Column, of: str) -> bool:
    return column.type == "token" and column.name.lower() in (f"{of}_id", f"{of}id", of, f"{of[0]}id")


def _id(path: Path, header: Sequence[Column], of: str) -> int:
    for column in header:
        if _is_id(column, of):
            return column.place
    raise DatasetError(f"{path} line 1: no column {of}_id:token among {', '.join(c.name for c in header)}")


def _role(header: Sequence[Column], types: Sequence[str], *names: str) -> Column | None:
    """The first column of one of the types whose name contains one of the names."""
    fitting = (c for c in header if c.type in types and any(name in c.name.lower() for name in names))
    return next(fitting, None)


def _items(path: Path, header: Sequence[Column], assembly: Assembly) -> Callable[[str], None]:
    item_id = _id(path, header, "item")
    title = _role(header, ("token", "token_seq"), "title") or _role(header, ("token", "token_seq"), "name")
    classes = [
        c for c in header if c.type == "token_seq" and any(n in c.name.lower() for n in _CATEGORY_NAMES)
    ]
    classes = [c for c in classes if c != title]
    wordy = [c for c in header if c.type in ("token", "token_seq") and c.place != item_id and c != title]

    def take(line: str) -> None:
        row = fields(line, "\t", len(header))
        said = [row[title.place] if title else "", *(row[column.place] for column in wordy)]
        categories = [name for column in classes for name in _sequence(row[column.place])]
        assembly.add_item(row[item_id], Item(said[0], categories, " ".join(filter(None, said))))

    return take


def _sequence(text: str) -> list[str]:
    """The members of a token_seq, by commas or bars where some converter wrote them, else by spaces."""
    parts = re.split(r"[,|]", text.strip("[]")) if re.search(r"[,|]", text) else text.split()
    return [part for part in (part.strip(" '\"") for part in parts) if part]


def _users(path: Path, header: Sequence[Column], assembly: Assembly) -> Callable[[str], None]:
    user_id = _id(path, header, "user")
    declared = [column for column in header if column.type in _KINDS and column.place != user_id]

    def take(line: str) -> None:
        row = fields(line, "\t", len(header))
        for column in declared:
            if column.type == "float" and row[column.place]:
                number(row[column.place], column.name)
        assembly.add_user(row[user_id], [row[column.place] for column in declared])

    return take


def _events(
    path: Path, header: Sequence[Column], rating: Column | None, assembly: Assembly
) -> Callable[[str], None]:
    user_id, item_id = _id(path, header, "user"), _id(path, header, "item")
    timestamp = _role(header, ("float", "token"), "timestamp", "time")
    text = _role(header, ("token", "token_seq"), "review_text", "review", "comment", "text")
    if timestamp is None:
        raise DatasetError(
            f"{path} line 1: no column timestamp:float; without it events have no order in time"
        )

    def take(line: str) -> None:
        row = fields(line, "\t", len(header))
        if not row[user_id]:
            raise BadRowError("user_id is missing")
        assembly.add_event(
            row[user_id],
            row[item_id],
            milliseconds(number(row[timestamp.place], timestamp.name)),
            number(row[rating.place], rating.name) if rating else None,
            row[text.place] if text else None,
        )

    return take
