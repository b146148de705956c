"""The way in: lines of source files, of which the good are taken and the bad are quarantined."""

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader
from itertools import islice
from math import isfinite
from pathlib import Path

from models.datasets.dataset import DatasetError, Quarantined

ROW_EXCERPT = 500
REPORT_EVERY = 20_000
# Seconds since 1970 reach 1e11 in the year 5138, milliseconds did in 1973: larger stamps are milliseconds.
LARGEST_SECONDS = 1e11
# The last moment, in milliseconds, of the year 9999: later ones no calendar type can hold.
LARGEST_MILLISECONDS = 253_402_300_799_999

Progress = Callable[[Path, int, int], None]
"""Told, now and then, of a file: its path, the bytes of it read so far, its size in bytes."""


class BadRowError(ValueError):
    """A row cannot be used; the message is the reason, worded alike for all rows with the same fault."""


def silent(_path: Path, _read: int, _size: int) -> None:
    """The progress of a load that nobody watches."""


class Intake:
    """Reads files line by line and keeps account of the rows that were refused."""

    def __init__(self, progress: Progress = silent) -> None:
        self.quarantined: list[Quarantined] = []
        self._progress = progress

    def read(
        self, path: Path, take: Callable[[str], None], encoding: str = "utf-8", header: int = 0
    ) -> None:
        """Give each line of `path` (plain or .gz) after the header to `take`; blank lines are passed over.

        A line that cannot be decoded, or for which `take` raises `BadRowError`, is quarantined. So is the
        end of a file whose compressed data breaks off: what came before it is kept.

        Raises:
            DatasetError: the file cannot be opened.
        """
        number = 0
        try:
            for raw in self._lines(path):
                number += 1
                text = raw.rstrip(b"\r\n")
                if number <= header or not text:
                    continue
                try:
                    take(text.decode(encoding))
                except UnicodeDecodeError:
                    self._refuse(path, number, f"not {encoding.upper()} text", text.decode("latin-1"))
                except BadRowError as bad:
                    self._refuse(path, number, str(bad), text.decode(encoding))
        except (EOFError, gzip.BadGzipFile, zlib.error):
            self._refuse(path, number + 1, "compressed data breaks off here", "")

    def _refuse(self, path: Path, number: int, reason: str, row: str) -> None:
        self.quarantined.append(Quarantined(path.name, number, reason, row[:ROW_EXCERPT]))

    def _lines(self, path: Path) -> Iterator[bytes]:
        try:
            size = path.stat().st_size
            with path.open("rb") as raw:
                for number, line in enumerate(_decompressed(path, raw)):
                    if number % REPORT_EVERY == 0:
                        self._progress(path, raw.tell(), size)  # of the compressed bytes the end is known
                    yield line
        except gzip.BadGzipFile:
            raise
        except OSError as error:
            raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
        self._progress(path, size, size)


def first_lines(path: Path, count: int) -> list[bytes]:
    """Up to `count` first lines of a file (plain or .gz), as far as they can be read.

    Raises:
        DatasetError: the file cannot be opened.
    """
    lines: list[bytes] = []
    try:
        with path.open("rb") as raw:
            lines.extend(islice(_decompressed(path, raw), count))
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return lines
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    return lines


def _decompressed(path: Path, raw: BufferedReader) -> Iterable[bytes]:
    return gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw


def fields(text: str, separator: str, expected: int) -> list[str]:
    """The fields of a line, stripped of spaces; `BadRowError` unless there are `expected` of them."""
    parts = [part.strip() for part in text.split(separator)]
    if len(parts) != expected:
        raise BadRowError(f"expected {expected} fields, found {len(parts)}")
    return parts


def number(text: str, name: str) -> float:
    """The finite number that `text` writes, else `BadRowError` with the field's name."""
    try:
        value = float(text)
    except ValueError:
        raise BadRowError(f"{name} is not a number") from None
    if not isfinite(value):
        raise BadRowError(f"{name} is not a number")
    return value


def milliseconds(stamp: float) -> int:
    """A Unix timestamp in seconds or milliseconds, told apart by size, in milliseconds."""
    time_ms = round(stamp if stamp > LARGEST_SECONDS else stamp * 1000)
    if not 0 <= time_ms <= LARGEST_MILLISECONDS:
        raise BadRowError("timestamp is out of range")
    return time_ms
