"""Answers on disk by what was asked: a run that is repeated, or cut short, asks no question twice."""

import json
from pathlib import Path

from models.teachers.port import Case, settings_digest


class AnswerCache:
    """A folder of one small file an answer; users of whom the same is known share theirs.

    Args:
        version: of everything an answer depends on beside the case.
    """

    def __init__(self, folder: Path, version: str) -> None:
        self._folder, self._version = folder, version

    def knows(self, case: Case) -> bool:
        """Whether the case was asked about before, to whatever end."""
        return self._path(case).exists()

    def read(self, case: Case) -> str | None:
        """The answer, or None where none was valid."""
        text: str | None = json.loads(self._path(case).read_text(encoding="utf-8"))
        return text

    def write(self, case: Case, text: str | None) -> None:
        """Keep an answer, or that there was none."""
        path = self._path(case)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(text), encoding="utf-8")
        partial.replace(path)

    def _path(self, case: Case) -> Path:
        key = settings_digest(self._version, case.key())
        return self._folder / key[:2] / f"{key}.json"
