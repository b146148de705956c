"""`kindling data` says what it did in a table, and what went wrong in a line."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from kindling.cli import main
from kindling.cli.data import app
from models.datasets.dataset import Dataset

INTER = """user_id:token\titem_id:token\trating:float\ttimestamp:float
ann\tkite\t5\t300
bob\tkite\t1\t100
ann\tghost\t5\t400
"""
ITEM = "item_id:token\tclass:token_seq\nkite\tOutdoor\n"
run = CliRunner().invoke


def test_load_writes_what_show_then_sums_up(tmp_path: Path) -> None:
    toys, out = tmp_path / "toys", str(tmp_path / "out")
    toys.mkdir()
    (toys / "toys.inter").write_text(INTER)
    (toys / "toys.item").write_text(ITEM)
    (toys / "toys.user").write_text("user_id:token\tflat:token\nann\tx\n")
    loaded = run(app, ["load", str(toys), "--out", out])
    assert loaded.exit_code == 0
    shown = run(app, ["show", "--data", out])
    assert shown.exit_code == 0
    for said in ("toys", "rating 1 to 5", "1970-01-01", "Outdoor", "skipped flat", "1 × unknown item"):
        assert said in shown.stdout


def test_simulate_writes_the_truth_too(tmp_path: Path) -> None:
    sizes = ["--users", "40", "--items", "60", "--events", "600", "--seed", "3"]
    assert run(app, ["simulate", *sizes, "--out", str(tmp_path / "out")]).exit_code == 0
    assert Dataset.load(tmp_path / "out").truth


def test_an_error_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in (
        (["load", str(tmp_path)], "found: nothing"),
        (["show", "--data", str(tmp_path / "nowhere")], "catalogue.json does not exist"),
        (["simulate", "--users", "5"], "users is 5"),
    ):
        monkeypatch.setattr("sys.argv", ["kindling", "data", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        assert said in capsys.readouterr().err


def test_the_workspace_is_where_data_goes_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINDLING_VAR", str(tmp_path / "usual"))
    sizes = ["--users", "40", "--items", "60", "--events", "600"]
    for folder, told in (("usual", []), ("other", ["--var", str(tmp_path / "other")])):
        assert run(app, ["simulate", *sizes, *told]).exit_code == 0
        assert Dataset.load(tmp_path / folder / "data").events.num_rows
