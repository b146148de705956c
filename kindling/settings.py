"""Settings: one typed object. A flag wins over the environment, that over YAML, that over the default."""

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

CONFIG_FILE = "kindling.yaml"


class SettingsError(ValueError):
    """A setting has a value it cannot have; the message names the setting and what was expected."""


class Settings(BaseSettings):
    """All a deployment may set: `KINDLING_<FIELD>` in the environment, `<field>:` in kindling.yaml."""

    model_config = SettingsConfigDict(env_prefix="KINDLING_", extra="forbid", frozen=True)

    var: Path = Field(Path("var"), description="workspace folder: data, stores, model bundles")
    redis: SecretStr | None = Field(None, description="Redis connection string; embedded SQLite if not set")
    bootstrap_servers: str | None = Field(None, description="Kafka; an embedded broker if not set")
    kafka_options: dict[str, Any] = Field(
        default_factory=dict,
        description="passed to every Kafka client: security_protocol, sasl_mechanism, ...",
        repr=False,
    )
    topic: str = Field("events", description="the topic of user events")
    group_id: str = Field("kindling", description="consumer group that folds them")
    host: str = Field("127.0.0.1", description="address the gRPC server listens on")
    port: int = Field(50051, ge=0, le=65535, description="its port; 0 takes a free one")
    threads: int = Field(8, ge=1, le=256, description="gRPC handler threads")
    provider: Literal["cpu", "cuda"] = Field("cpu", description="where ONNX models run")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then YAML."""
        path = Path(os.environ.get("KINDLING_CONFIG") or CONFIG_FILE)
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, yaml_file=path)

    def redacted(self) -> dict[str, Any]:
        """The effective settings, safe to print: secrets hidden, broker options by name alone."""
        shown = self.model_dump(mode="json")
        shown["kafka_options"] = sorted(self.kafka_options)
        return shown


def load_settings(**flags: Any) -> Settings:
    """Read the settings; a flag that is None was not given.

    Raises:
        SettingsError: naming each bad setting and where to set it.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            field = ".".join(str(part) for part in problem["loc"]) or "settings"
            lines.append(
                f"{field}: {problem['msg']} (set --{field.replace('_', '-')} or KINDLING_{field.upper()})"
            )
        raise SettingsError("; ".join(lines)) from None
