"""The doctor: each trouble is found by its check and comes with what to do."""

import shutil
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from feature_repo.store import apply
from feature_repo.workspace import Workspace
from kindling.cli.app import app, register
from kindling.cli.doctor import Finding, examine
from kindling.settings import Settings, load_settings
from models.registry import Registry
from tests.marked import marked_bundle
from tests.servers import free_port
from tests.shop import shop_workspace


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace that could serve."""
    workspace = shop_workspace(tmp_path_factory.mktemp("healthy"))
    apply(workspace)
    marked_bundle(workspace.bundles, "v1", 1.0)
    Registry(workspace.bundles).activate("v1")
    return workspace


def settings(workspace: Workspace, **changes: object) -> Settings:
    """Settings of `workspace`, at a port that is free."""
    return load_settings(**({"var": workspace.root, "port": free_port()} | changes))


def finding(subject: str, of: Settings) -> Finding:
    """What the check of `subject` found."""
    return next(found for found in examine(of) if found.subject == subject)


def test_a_healthy_workspace_needs_a_broker_alone(healthy: Workspace) -> None:
    found = {finding.subject: finding for finding in examine(settings(healthy))}
    assert {subject for subject, finding in found.items() if not finding.ok} == {"broker"}
    assert "kindling broker" in found["broker"].fix
    assert "v1" in found["bundle"].detail
    assert "one clock" in found["clock"].detail


def test_the_command_shows_a_table_and_its_exit_code_says_whether_to_act(
    healthy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINDLING_PORT", str(free_port()))
    register("doctor")
    arguments = ["doctor", "--var", str(healthy.root)]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 1
    assert "kindling broker" in shown.output
    assert CliRunner().invoke(app, [*arguments, "--skip", "broker"]).exit_code == 0


def test_an_empty_workspace_is_told_where_to_begin(tmp_path: Path) -> None:
    of = settings(Workspace(tmp_path))
    assert "kindling data" in finding("data", of).fix
    assert finding("store", of).fix == "`kindling apply`"


def test_a_damaged_bundle_is_found(healthy: Workspace, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "damaged")
    shutil.copytree(healthy.root, workspace.root)
    with (workspace.bundles / "v1" / "generator.onnx").open("ab") as file:
        file.write(b"!")
    found = finding("bundle", settings(workspace))
    assert "rollback" in found.fix
    assert "generator.onnx" in found.detail


def test_no_bundle_is_found(tmp_path: Path) -> None:
    assert "kindling train" in finding("bundle", settings(shop_workspace(tmp_path))).fix


def test_a_port_that_another_program_has_is_found(healthy: Workspace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert "another program" in finding("port", settings(healthy, port=port)).detail
        assert "metrics" in finding("port", settings(healthy, metrics_port=port)).detail


def test_a_store_that_is_down_is_found(healthy: Workspace, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "down")
    shutil.copytree(healthy.root, workspace.root)
    text = workspace.feature_store_yaml.read_text().replace(str(healthy.online), "/proc/none/online.db")
    workspace.feature_store_yaml.write_text(text)
    assert "start it" in finding("store", settings(workspace)).fix


def test_a_broker_that_does_not_answer_is_found(healthy: Workspace) -> None:
    found = finding("broker", settings(healthy, bootstrap_servers=f"127.0.0.1:{free_port()}"))
    assert "bootstrap_servers" in found.fix


def test_a_full_disk_is_found(healthy: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kindling.cli.checks._LEAST_FREE", 1 << 60)
    assert "make room" in finding("disk", settings(healthy)).fix


def test_an_open_door_and_an_open_file_are_found(healthy: Workspace, tmp_path: Path) -> None:
    assert "tokens" in finding("security", settings(healthy, host="0.0.0.0")).fix
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text("[]")
    tokens.chmod(0o666)
    assert finding("security", settings(healthy, tokens=tokens)).fix == f"chmod go-w {tokens}"
    tokens.chmod(0o600)
    assert finding("security", settings(healthy, tokens=tokens)).ok
    tokens.write_text("- {}")
    assert "client" in finding("security", settings(healthy, tokens=tokens)).detail
