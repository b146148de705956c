"""Which broker to use: the configured one, else one running on this machine, else one in the process."""

import os
from pathlib import Path
from typing import Any

import msgspec

from streaming.broker.embedded import EmbeddedBroker
from streaming.broker.external import ExternalBroker
from streaming.broker.port import Broker
from streaming.errors import BrokerError


class Address(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a broker that `kindling broker` runs can be reached; the content of its address file."""

    kind: str
    bootstrap: str
    pid: int
    api_version: tuple[int, ...] | None = None
    cluster_id: str | None = None
    topics_on_use: bool = False


def write_address(broker: Broker, path: Path) -> None:
    """Tell other processes on this machine where `broker` is."""
    version = broker.options.get("api_version")
    address = Address(
        kind=broker.kind,
        bootstrap=broker.bootstrap,
        pid=os.getpid(),
        api_version=version,
        cluster_id=broker.cluster_id,
        topics_on_use=broker.kind == "embedded",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(msgspec.json.encode(address))
    partial.replace(path)


def read_address(path: Path) -> Address | None:
    """The broker that `path` tells of, None where none runs.

    Raises:
        BrokerError: the file is not an address.
    """
    try:
        address = msgspec.json.decode(path.read_bytes(), type=Address)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise BrokerError(
            f"{path} is no broker address ({error}): delete it and start `kindling broker`"
        ) from None
    return address if Path(f"/proc/{address.pid}").exists() or not Path("/proc").exists() else None


def choose(bootstrap: str | None, options: dict[str, Any] | None, address_file: Path) -> tuple[Broker, str]:
    """A broker, not yet entered, and one line that says which and why."""
    if bootstrap:
        return ExternalBroker(bootstrap, options), f"external broker at {bootstrap}, as configured"
    address = read_address(address_file)
    if address is not None:
        found: dict[str, Any] = {"api_version": address.api_version} if address.api_version else {}
        broker = ExternalBroker(
            address.bootstrap, found, cluster_id=address.cluster_id, topics_on_use=address.topics_on_use
        )
        return broker, f"{address.kind} broker at {address.bootstrap}, running here ({address_file})"
    return EmbeddedBroker(), "embedded broker in this process, since none is configured or running here"
