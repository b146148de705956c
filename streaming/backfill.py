"""Backfill: a history folded again into a fresh workspace, from the event log or from the topic."""

import shutil
from collections.abc import Callable
from zlib import crc32

import msgspec
from feast import FeatureStore
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from feature_repo.catalogue import CATALOGUE_FILE, ITEMS_FILE, Catalogue, Items, load_catalogue
from feature_repo.event_log import folder
from feature_repo.offline import hold
from feature_repo.store import apply, open_store
from feature_repo.tombstones import copy_tombstones
from feature_repo.workspace import Workspace
from streaming.broker.port import Broker
from streaming.consumer import Consumer
from streaming.counters import Counters
from streaming.errors import BrokerError, StreamingError
from streaming.item_sink import GuardedItems
from streaming.items import ItemSide
from streaming.parts import parts_in
from streaming.position import origin, source
from streaming.replay import Replay, Replayed
from streaming.sink import GuardedSink
from streaming.stores.port import Move

MARKER = "backfill.json"


class BackfillError(StreamingError):
    """The workspace to fill cannot be used; the message says why."""


def prepare(live: Workspace, fresh: Workspace, redis: str | None = None) -> FeatureStore:
    """The feature store of `fresh`, made if it is not there, with the catalogue and tombstones of `live`.

    Raises:
        BackfillError: `fresh` holds anything that is no backfill of `live`.
    """
    marker, mark = fresh.root / MARKER, {"of": str(live.root), "redis": redis is not None}
    if fresh.root == live.root:
        raise BackfillError(f"--into {fresh.root} is the live workspace: name a folder of its own")
    if redis is not None and redis == _address(open_store(live)):
        raise BackfillError("--redis is the live online store: name another one, or another db of it")
    known = marker.exists() and msgspec.json.decode(marker.read_bytes()) == mark
    if not known and fresh.root.exists() and any(fresh.root.iterdir()):
        raise BackfillError(
            f"--into {fresh.root} is not empty, and no backfill of {live.root} with that store: name "
            "another folder"
        )
    fresh.data.mkdir(parents=True, exist_ok=True)
    for name in (CATALOGUE_FILE, ITEMS_FILE):
        shutil.copyfile(live.data / name, fresh.data / name)
    copy_tombstones(live, fresh)
    store = apply(fresh, redis)
    sources = {part.source for part in parts_in(folder(live))}
    if not known and GuardedSink(store, load_catalogue(fresh.data)).positions(sources):
        raise BackfillError("--redis holds folded features already: name an empty one, or another db of it")
    marker.write_bytes(msgspec.json.encode(mark))
    return store


def _address(store: FeatureStore) -> str | None:
    address = getattr(store.config.online_store, "connection_string", None)
    return None if address is None else str(address)


def fold_log(
    live: Workspace,
    catalogue: Catalogue,
    items: Items,
    store: FeatureStore,
    begin: Callable[[int], object] = lambda _: None,
    progress: Callable[[int], object] = lambda _: None,
) -> Replayed:
    """Fold the event log of `live` into `store`, users and items, from where that stands."""
    with hold(live, alone=False):
        item_side = ItemSide(GuardedItems(store, catalogue), catalogue, 0)
        replay = Replay(live, catalogue, items, GuardedSink(store, catalogue), item_side)
        begin(replay.pending())
        return replay.run(progress=progress)


def fold_topic(
    broker: Broker,
    topic: str,
    fresh: Workspace,
    store: FeatureStore,
    catalogue: Catalogue,
    items: Items,
    since_ms: int | None = None,
    begin: Callable[[int], object] = lambda _: None,
    progress: Callable[[int], object] = lambda _: None,
) -> bool:
    """Fold what `topic` holds into `fresh`, from where that stands, as a consumer of its own group does.

    Args:
        since_ms: leave out what the broker was given before this time, milliseconds since the epoch.

    Returns:
        Whether that was all there ever was: no offset of the topic is left out or gone.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    sink, tag = GuardedSink(store, catalogue), origin(broker.cluster_id, topic)
    starts, ends = _bounds(broker, topic, since_ms)
    stands = sink.positions([source(tag, number) for number in starts])
    moves = {
        source(tag, number): Move(-1, start)
        for number, start in starts.items()
        if start and source(tag, number) not in stands
    }
    sink.move(moves)
    GuardedItems(store, catalogue).move(moves)
    whole = not any(starts.values())
    left = sum(ends[n] - max(starts[n], stands.get(source(tag, n), 0)) for n in starts)
    begin(max(0, left))
    reported = 0

    def until(counters: Counters) -> bool:
        nonlocal reported
        done = max(0, left - counters.lag) if counters.lag is not None else 0
        progress(max(0, done - reported))
        reported = max(done, reported)
        return counters.lag == 0

    group = f"kindling-backfill-{crc32(str(fresh.root).encode()):08x}"
    with Consumer(broker, store, catalogue, items, fresh, topic, group) as consumer:
        consumer.run(until)
    return whole


def _bounds(broker: Broker, topic: str, since_ms: int | None) -> tuple[dict[int, int], dict[int, int]]:
    """By partition, the offset to begin at, and that at which the topic ends by now."""
    try:
        kafka = KafkaConsumer(**broker.options, enable_auto_commit=False)
        try:
            numbers = kafka.partitions_for_topic(topic) or () if topic in kafka.topics() else ()
            partitions = [TopicPartition(topic, number) for number in numbers]
            ends = kafka.end_offsets(partitions)
            starts = kafka.beginning_offsets(partitions)
            if since_ms is not None:
                found = kafka.offsets_for_times(dict.fromkeys(partitions, since_ms))
                starts = {
                    tp: max(starts[tp], ends[tp] if found[tp] is None else found[tp].offset)
                    for tp in partitions
                }
        finally:
            kafka.close(autocommit=False)
    except (KafkaError, OSError) as error:
        raise BrokerError(f"cannot read the offsets of {topic!r}: {error}") from error
    if not partitions:
        raise BackfillError(f"--topic: there is no topic {topic!r} on {broker.bootstrap}")
    return {tp.partition: starts[tp] for tp in partitions}, {tp.partition: ends[tp] for tp in partitions}
