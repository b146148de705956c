"""`results.json`: one shape, flat rows, whole or not at all."""

import json
from datetime import UTC, datetime
from pathlib import Path

from kindling.results import Row, write_results


def test_the_file_has_the_one_shape(tmp_path: Path) -> None:
    row = Row("demo.ndcg@10", "kindling", 0.4, "share", 0.3, 0.5, 200, {"k": 1})
    path = tmp_path / "deep" / "results.json"
    write_results(path, "demo", datetime.now(UTC), {"data": None}, [row])
    results = json.loads(path.read_text())
    assert list(results) == [
        "what", "commit", "dirty", "started_at", "seconds", "machine", "versions", "arguments", "rows"
    ]  # fmt: skip
    assert results["rows"] == [
        {
            "measure": "demo.ndcg@10",
            "subject": "kindling",
            "value": 0.4,
            "unit": "share",
            "low": 0.3,
            "high": 0.5,
            "n": 200,
            "k": 1,
        }
    ]
    assert list(tmp_path.rglob("*.partial")) == []
    assert json.dumps(results["rows"][0], separators=(",", ":")) in path.read_text().split("\n  ")[-1]
    assert results["versions"]["feast"] == "0.67.0"


def test_rows_leave_out_digits_that_nobody_measured(tmp_path: Path) -> None:
    write_results(tmp_path / "r.json", "x", datetime.now(UTC), {}, [Row("a", "b", 1 / 3, "s", n=1_234_567)])
    write_results(tmp_path / "none.json", "x", datetime.now(UTC), {}, [])
    (row,) = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert row["value"] == 0.333333 and row["low"] is None and row["n"] == 1_234_567
    assert json.loads((tmp_path / "none.json").read_text())["rows"] == []
