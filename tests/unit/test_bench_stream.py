"""The stream's benchmark: what a session that was stopped keeps."""

from pathlib import Path

from tests.bench.stream.cases import FULL, ISSUED, UNGUARDED
from tests.bench.stream.journal import Journal
from tests.bench.stream.loops import Report
from tests.bench.stream.runs import Run
from tests.bench.stream.samples import Rate, Sample
from tests.bench.stream.stages import Spent

RUN = Run(
    ISSUED,
    Rate(10, 2.0, 1.0),
    {"redis": 3.0},
    [Report([Sample(0.0, 0.0, 0, 1)], {"fold": Spent(1.0, 2.0)})],
)


def test_what_was_measured_stays_measured(tmp_path: Path) -> None:
    first = Journal(tmp_path / "runs.jsonl", resume=False)
    first.note("rate", RUN)
    first.note("rate", RUN)
    first.note("stages", RUN)
    later = Journal(tmp_path / "runs.jsonl", resume=True)
    assert later.of("rate", ISSUED) == [RUN, RUN]
    assert later.of("stages", ISSUED) == [RUN]
    assert later.of("rate", UNGUARDED) == later.of("memory", FULL) == []
    assert (later.cases("rate"), later.cases("memory")) == ([ISSUED], [])


def test_a_session_begins_anew_unless_it_goes_on(tmp_path: Path) -> None:
    Journal(tmp_path / "runs.jsonl", resume=False).note("rate", RUN)
    assert Journal(tmp_path / "runs.jsonl", resume=False).cases("rate") == []
    assert not (tmp_path / "runs.jsonl").exists()
