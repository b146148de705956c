"""The commands on the offline store, one after the other on one workspace."""

from pathlib import Path

import pyarrow.parquet as pq
from typer.testing import CliRunner

from feature_repo.event_log import folder
from feature_repo.store import apply
from kindling.cli.app import app, register
from streaming.offline_log import OfflineLog
from streaming.parts import parts_in
from tests.shop import shop_workspace
from tests.streams import stream

EVENTS = stream(seed=51, users=6, events=90)


def test_history_is_derived_merged_and_joined(tmp_path: Path) -> None:
    register()
    workspace = shop_workspace(tmp_path)
    apply(workspace)
    log = OfflineLog(workspace, "shop", 3)
    for first in range(0, 90, 30):
        log.append(0, first, first + 29, list(enumerate(EVENTS[first : first + 30], first)))

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, [*arguments, "--var", str(workspace.root)])
        assert done.exit_code == 0, done.output
        return done.output

    assert "90 events folded" in run("snapshot")
    assert "0 events folded" in run("snapshot")
    assert "90 events folded" in run("snapshot", "--anew")
    assert "0 part files merged" in run("compact")
    assert "3 part files merged into 1" in run("compact", "--all")
    assert [(part.first, part.last) for part in parts_in(folder(workspace))] == [(0, 89)]
    out = tmp_path / "set.parquet"
    run("training-set", str(out))
    rows = pq.read_table(out).to_pylist()
    assert len(rows) == sum(event.item_id is not None for event in EVENTS[:90])
    firsts = [row for row in rows if row["event_count"] is None]
    assert {row["user_id"] for row in firsts} <= {event.user_id for event in EVENTS}
    assert len(firsts) >= len({row["user_id"] for row in rows})
    assert "user_activity: rows since the beginning" in run("materialize", "--view", "user_activity")
