"""Cutover: from one topic to another with more partitions, while both are folded.

In place, new partitions would tear a user's events apart, and their order with it. Two topics do no
harm: a row's position knows each of their partitions, and folding does not mind their order.
"""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from kafka import KafkaConsumer
from kafka.errors import KafkaError

from feature_repo.offline import sync
from feature_repo.workspace import Workspace
from streaming.broker.port import Broker
from streaming.errors import BrokerError, StreamingError
from streaming.lag import LagGauge, Positions
from streaming.offsets import end_offsets

CUTOVERS_FILE = "cutovers.jsonl"
_INTERVAL_S = 0.5


class CutoverError(StreamingError):
    """The topics asked for cannot be cut over; the message says why."""


class Cutover(msgspec.Struct, frozen=True):
    """One that is done.

    Attributes:
        old, new: topics.
        at_ms: when `old` was found drained, milliseconds since the epoch.
        ends: by source, where `old` ended and was folded up to.
    """

    old: str
    new: str
    at_ms: int
    ends: dict[int, int]


def cutovers(workspace: Workspace) -> list[Cutover]:
    """All that were recorded, oldest first."""
    path = _file(workspace)
    if not path.exists():
        return []
    return [msgspec.json.decode(line, type=Cutover) for line in path.read_bytes().splitlines()]


def topics_in_order(workspace: Workspace, topic: str) -> list[str]:
    """All topics that were ever folded, those that were cut over first, and `topic`."""
    names = [name for each in cutovers(workspace) for name in (each.old, each.new)]
    return list(dict.fromkeys([*names, topic]))


def prepare(broker: Broker, old: str, new: str, partitions: int) -> None:
    """Make sure that topic `new` is there, beside `old`.

    Raises:
        CutoverError: `old` is not there, or `new` has another number of partitions.
        BrokerError: the broker cannot be reached.
    """
    if old == new:
        raise CutoverError(f"NEW_TOPIC is {new!r}, the topic in use: give the new one another name")
    if not _partitions(broker, old):
        raise CutoverError(f"--topic: there is no topic {old!r} to cut over from")
    broker.create_topic(new, partitions)
    if (found := _partitions(broker, new)) != partitions:
        raise CutoverError(
            f"topic {new!r} has {found} partitions, not {partitions}: name one that does not exist yet, "
            f"or give --partitions {found}"
        )


def complete(
    workspace: Workspace,
    broker: Broker,
    positions: Positions,
    old: str,
    new: str,
    quiet_s: float,
    progress: Callable[[int, float], object] = lambda *_: None,
) -> Cutover:
    """Return once `old` has not grown for `quiet_s` seconds and is folded up to its end; record it.

    Args:
        positions: where the store stands, by source, such as `FeatureSink.positions`.
        progress: told the events of `old` that are not folded, and for how many seconds it has not grown.

    Raises:
        BrokerError: the broker cannot be reached.
        SinkError: the store cannot.
    """
    with LagGauge(broker, positions, old) as gauge:
        ends, since = end_offsets(broker, [old]), time.monotonic()
        while True:
            lag = sum(gauge.read().values())
            if (grown := end_offsets(broker, [old])) != ends:
                ends, since = grown, time.monotonic()
            quiet = time.monotonic() - since
            if not lag and quiet >= quiet_s:
                break
            progress(lag, quiet)
            time.sleep(_INTERVAL_S)
    done = Cutover(old, new, int(time.time() * 1000), ends)
    path = _file(workspace)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(done) + b"\n")
    sync(path)
    return done


def _partitions(broker: Broker, topic: str) -> int:
    """How many a topic has; 0 where it does not exist."""
    try:
        kafka = KafkaConsumer(**broker.options, enable_auto_commit=False)
        try:
            return len(kafka.partitions_for_topic(topic) or ()) if topic in kafka.topics() else 0
        finally:
            kafka.close(autocommit=False)
    except (KafkaError, OSError) as error:
        raise BrokerError(f"{broker.kind} broker at {broker.bootstrap}: {error}") from error


def _file(workspace: Workspace) -> Path:
    return workspace.root / CUTOVERS_FILE
