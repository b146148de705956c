"""What long commands leave in a log."""

import pytest

from kindling.cli.progress import steps


def test_each_step_is_a_line_once_away_from_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with steps() as shown:
        for step, detail in (
            ("priors", ""),
            ("encoder", "epoch 1"),
            ("encoder", "epoch 2"),
            ("priors", ""),
        ):
            shown.tell(step, detail)
    written = capsys.readouterr()
    assert written.out == ""
    assert [line.split(" s  ")[1] for line in written.err.splitlines()] == ["priors", "encoder"]
    assert all(float(line.split(" s  ")[0]) >= 0 for line in written.err.splitlines())
