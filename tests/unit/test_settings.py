"""Settings: flag over environment over YAML over default; secrets never shown."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from kindling.cli.app import app, register
from kindling.cli.serve import operation_of
from kindling.settings import SettingsError, load_settings
from models.opener import Opener
from service.host.access import Permission, digest, load_grants
from service.host.worker import Worker


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KINDLING_VAR", raising=False)
    monkeypatch.delenv("KINDLING_CONFIG", raising=False)


def test_each_source_gives_way_to_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().port == 50051
    Path("kindling.yaml").write_text("port: 1000\ntopic: from-yaml\n")
    assert load_settings().port == 1000
    monkeypatch.setenv("KINDLING_PORT", "2000")
    assert load_settings().port == 2000
    settings = load_settings(port=3000, topic=None)
    assert (settings.port, settings.topic) == (3000, "from-yaml")


def test_secrets_are_never_shown() -> None:
    settings = load_settings(
        redis="localhost:6379,password=hunter2", kafka_options={"sasl_plain_password": "hunter2"}
    )
    assert "hunter2" not in repr(settings) + str(settings.redacted())
    assert settings.redacted()["kafka_options"] == ["sasl_plain_password"]


def test_a_bad_value_names_the_setting_and_where_to_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINDLING_PORT", "ninety")
    with pytest.raises(SettingsError, match=r"port: .*--port or KINDLING_PORT"):
        load_settings()


def test_the_gpu_is_found_by_the_socket_of_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINDLING_DEVICE", "/run/kindling/device.sock")
    settings = load_settings(provider="cuda", precision="fp16")
    assert settings.device == Path("/run/kindling/device.sock")
    assert Opener(settings.provider, settings.precision, settings.device).here == "cpu"
    assert Opener("cuda").here == "cuda"


def test_a_certificate_needs_its_key_and_a_client_authority_both() -> None:
    with pytest.raises(SettingsError, match=r"^tls_cert and tls_key: set both"):
        load_settings(tls_cert="cert.pem")
    with pytest.raises(SettingsError, match=r"^tls_client_ca: needs"):
        load_settings(tls_client_ca="ca.pem")
    assert load_settings(tls_cert="cert.pem", tls_key="key.pem").tls_key == Path("key.pem")


def test_serve_shows_the_effective_settings_and_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINDLING_REDIS", "localhost:6379,password=hunter2")
    monkeypatch.setenv("KINDLING_THREADS", "3")
    register("serve")
    shown = CliRunner().invoke(app, ["serve", "--workers", "2", "--print-config"])
    assert shown.exit_code == 0
    assert "hunter2" not in shown.output
    effective = yaml.safe_load(shown.output)
    assert (effective["workers"], effective["threads"]) == (2, 3)


def test_connections_are_renewed_where_a_port_is_to_be_handed_over() -> None:
    def age_s(**flags: object) -> float:
        return operation_of(load_settings(**flags), None).transport.max_connection_age_s

    assert age_s() == 0
    assert age_s(reuse_port=True) == 20
    assert age_s(reuse_port=True, max_connection_age_s=3) == 3


def test_a_worker_shares_its_supervisor_s_port() -> None:
    transport = operation_of(load_settings(port=1), Worker(0, 4321, 0, "")).transport
    assert (transport.port, transport.reuse_port) == (4321, True)


def test_a_token_is_shown_once_and_its_entry_lets_it_in(tmp_path: Path) -> None:
    register("token")
    made = CliRunner().invoke(app, ["token", "shop", "--permission", "feast", "--per-second", "5"])
    token = made.stderr.strip().rpartition(" ")[2]
    path = tmp_path / "tokens.yaml"
    path.write_text(made.stdout)
    assert token not in made.stdout
    (grant,) = load_grants(path).values()
    assert (grant.client, grant.permissions, grant.per_second) == (
        "shop",
        frozenset({Permission.FEAST}),
        5.0,
    )
    assert load_grants(path)[digest(token)] == grant
