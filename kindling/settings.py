"""Settings: one typed object. A flag wins over the environment, that over YAML, that over the default."""

import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
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
    training: dict[str, Any] = Field(
        default_factory=dict,
        description="options of learned generators, as `train --set` takes them",
    )
    host: str = Field("127.0.0.1", description="address the gRPC server listens on")
    port: int = Field(50051, ge=0, le=65535, description="its port; 0 takes a free one")
    threads: int = Field(16, ge=1, le=256, description="gRPC handler threads, of each worker")
    most_calls: int = Field(
        128, ge=1, description="calls handled or waiting, of each worker, at most; more are refused"
    )
    workers: int = Field(
        1, ge=0, le=1024, description="serving processes that share the port; 0: one a core"
    )
    reuse_port: bool = Field(
        False, description="share the port with a server that is to take over, or over from"
    )
    provider: Literal["cpu", "cuda"] = Field("cpu", description="where ONNX models run")
    precision: Literal["fp32", "fp16", "int8"] = Field(
        "fp32", description="of learned models; fp16 is for cuda, int8 for a student on a CPU"
    )
    device: Path | None = Field(
        None, description="socket of `kindling device`, which then runs the learned models"
    )
    tls_cert: Path | None = Field(None, description="the server's certificate, PEM; plain text if not set")
    tls_key: Path | None = Field(None, description="its private key, PEM")
    tls_client_ca: Path | None = Field(
        None, description="who signs clients' certificates; none asked if not set"
    )
    tokens: Path | None = Field(
        None, description="clients, hashed tokens and permissions; all may call if not set"
    )
    rate_per_client: float = Field(0.0, ge=0, description="calls a second of one client; 0 for no limit")
    max_message_mb: float = Field(4.0, gt=0, le=64, description="largest request, MiB")
    keepalive_s: float = Field(60.0, ge=1, description="silence after which a connection is probed")
    max_connection_age_s: float | None = Field(
        None,
        ge=0,
        description="connections are renewed after so long; 0: never; 20 with reuse_port if not set",
    )
    lame_duck_s: float = Field(
        1.0, ge=0, description="from not being ready to taking no more calls, at the end"
    )
    drain_s: float = Field(5.0, ge=0, description="then, for calls in flight")
    metrics_port: int = Field(0, ge=0, le=65535, description="Prometheus at 127.0.0.1; 0 for none")
    log_format: Literal["text", "json"] = Field("text", description="of the server's log")
    log_calls: bool = Field(
        False, description="a line for each call: who, what, how it ended, how long it took"
    )
    traces: str | None = Field(None, description="OpenTelemetry exporter: console, otlp_proto_grpc, ...")
    trace_share: float = Field(1.0, ge=0, le=1, description="of the calls whose caller has not decided")

    @model_validator(mode="after")
    def _key_for_certificate(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key: set both, or neither")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("tls_client_ca: needs tls_cert and tls_key")
        return self

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
            field = ".".join(str(part) for part in problem["loc"])
            if not field:  # about several at once: it names them itself
                lines.append(problem["msg"].removeprefix("Value error, "))
                continue
            lines.append(
                f"{field}: {problem['msg']} (set --{field.replace('_', '-')} or KINDLING_{field.upper()})"
            )
        raise SettingsError("; ".join(lines)) from None
