"""Settings: flag over environment over YAML over default; secrets never shown."""

from pathlib import Path

import pytest

from kindling.settings import SettingsError, load_settings
from models.opener import Opener


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
