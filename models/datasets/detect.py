"""Which format a folder or file is in, and the loader for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from feature_repo.catalogue import CATALOGUE_FILE
from models.datasets import amazon, movielens, recbole
from models.datasets.dataset import Dataset, DatasetError
from models.datasets.intake import Progress, silent

SHOWN = 8


class Format(Protocol):
    """What a module that reads a format offers."""

    EXPECTS: str

    def find(self, path: Path) -> list[Path]:
        """The files by which the format is recognised at `path`."""

    def load(self, path: Path, progress: Progress = silent) -> Dataset:
        """The data set at `path`, where `find` found something."""


FORMATS: Sequence[Format] = (recbole, movielens, amazon)


def load(path: Path, progress: Progress = silent) -> Dataset:
    """Read the data set at `path`, a folder or a file of any known format, or a folder saved before.

    Raises:
        DatasetError: nothing is there, no format fits (the message says what each expects and what
            was found), or the files of the format are unusable.
    """
    if not path.exists():
        raise DatasetError(f"{path} does not exist: name a folder or file with one of these\n{_expected()}")
    if (path / CATALOGUE_FILE).is_file():
        return Dataset.load(path)
    try:
        for known in FORMATS:
            if known.find(path):
                return known.load(path, progress)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    raise DatasetError(f"{path} is no data set; expected one of\n{_expected()}\nfound: {_found(path)}")


def _expected() -> str:
    return "\n".join(f"  - {known.EXPECTS}" for known in FORMATS)


def _found(path: Path) -> str:
    if path.is_file():
        return f"the file {path.name}"
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in path.iterdir())
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more if names else "nothing"
