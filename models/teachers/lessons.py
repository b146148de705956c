"""Lessons on disk: one folder a run, in parts that are whole or absent, so that a run cut short goes on."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.catalogue import CATALOGUE_FILE, ITEMS_FILE
from models.datasets.dataset import EVENTS_FILE, USERS_FILE
from models.teachers.port import Case, Lesson, Teacher, TeacherError

MANIFEST_FILE = "manifest.json"
PART_CASES = 256

_TEXTS = pa.list_(pa.string())
_NUMBERS = pa.list_(pa.float32())
LESSON_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("count", pa.int32()),
        ("items", _TEXTS),
        ("item_weights", _NUMBERS),
        ("affinity", _NUMBERS),
        ("embedding", _NUMBERS),
        ("confidence", pa.float32()),
        ("rationale", pa.string()),
        ("liked", _TEXTS),
        ("disliked", _TEXTS),
        ("queries", _TEXTS),
    ]
)
_SECONDS = b"kindling.seconds"


class LessonsManifest(msgspec.Struct, frozen=True):
    """What a finished run was.

    Attributes:
        version: the teacher's.
        dataset: fingerprint of the data set that the cases were cut from.
        cases, invalid: how many were taught, and of them how many came to no valid lesson.
        seconds: spent teaching, over all sittings.
    """

    teacher: str
    version: str
    dataset: str
    cases: int
    invalid: int
    seconds: float


def dataset_fingerprint(folder: Path) -> str:
    """sha256 over the files of a data set."""
    digest = hashlib.sha256()
    for name in (CATALOGUE_FILE, ITEMS_FILE, USERS_FILE, EVENTS_FILE):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:32]


def lessons_folder(root: Path, teacher: Teacher, cases: Sequence[Case], dataset: str) -> Path:
    """Where the lessons of this run lie: another teacher, version, data set or case is another folder."""
    digest = hashlib.sha256(f"{teacher.version} {dataset}".encode())
    for case in cases:
        digest.update(f"{case.user_id}\x1f{case.key()}\n".encode())
    return root / f"{teacher.name}-{digest.hexdigest()[:16]}"


def teach(
    teacher: Teacher,
    cases: Sequence[Case],
    dataset: str,
    root: Path,
    advance: Callable[[int], None] | None = None,
) -> Path:
    """Ask for a lesson on every case and write them below `root`; parts that are there are not asked again.

    Args:
        dataset: fingerprint of where the cases come from.
        advance: told of every few cases that are done.

    Returns:
        The run's folder.
    """
    folder = lessons_folder(root, teacher, cases, dataset)
    folder.mkdir(parents=True, exist_ok=True)
    kept, seconds = 0, 0.0
    for number, start in enumerate(range(0, len(cases), PART_CASES)):
        asked = cases[start : start + PART_CASES]
        path = folder / f"part-{number:05}.parquet"
        if not path.exists():
            _write_part(path, teacher, asked)
        metadata = pq.read_metadata(path)
        kept += metadata.num_rows
        seconds += float(metadata.metadata[_SECONDS])
        if advance is not None:
            advance(len(asked))
    manifest = LessonsManifest(
        teacher.name, teacher.version, dataset, len(cases), len(cases) - kept, round(seconds, 3)
    )
    _replace(folder / MANIFEST_FILE, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    return folder


def read_manifest(folder: Path) -> LessonsManifest:
    """What the finished run in `folder` was.

    Raises:
        TeacherError: no run was finished there.
    """
    try:
        return msgspec.json.decode((folder / MANIFEST_FILE).read_bytes(), type=LessonsManifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise TeacherError(
            f"{folder} holds no finished lessons: {error}; `kindling teach` again goes on where it stood"
        ) from error


def read_lessons(folder: Path) -> Iterator[Lesson]:
    """All valid lessons of a finished run, in the order of its cases.

    Raises:
        TeacherError: no run was finished there.
    """
    read_manifest(folder)
    for path in sorted(folder.glob("part-*.parquet")):
        for row in pq.read_table(path, schema=LESSON_SCHEMA).to_pylist():
            yield msgspec.convert(row, Lesson)


def _write_part(path: Path, teacher: Teacher, cases: Sequence[Case]) -> None:
    started = time.monotonic()
    rows = [msgspec.structs.asdict(lesson) for lesson in teacher.teach(cases)]
    seconds = json.dumps(time.monotonic() - started).encode()
    table = pa.Table.from_pylist(rows, LESSON_SCHEMA.with_metadata({_SECONDS: seconds}))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    _replace(path, sink.getvalue().to_pybytes())


def _replace(path: Path, content: bytes) -> None:
    """Write `path`, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(path)
