"""Batches as the consumer takes them from a topic of two partitions, on the small shop."""

from collections.abc import Mapping

import msgspec
from kafka.consumer.fetcher import ConsumerRecord

from streaming.batch import Batch
from streaming.decode import Decoder
from streaming.event import UserEvent, encode
from streaming.fold import Fold
from streaming.position import source
from tests.shop import CATALOGUE, ITEMS

SHOP = msgspec.structs.replace(CATALOGUE, lateness_days=5.0)
ORIGIN = 7
PARTITIONS = 2
SOURCES = [source(ORIGIN, partition) for partition in range(PARTITIONS)]
fold = Fold(SHOP, ITEMS)
decoder = Decoder(SHOP, ITEMS)

Log = list[list[UserEvent]]  # by partition and offset


def record(partition: int, offset: int, event: UserEvent) -> ConsumerRecord:
    """The event as Kafka hands it out."""
    empty = dict.fromkeys(ConsumerRecord._fields)
    return ConsumerRecord(**empty | {"partition": partition, "offset": offset, "value": encode(event)})


def batch_of(log: Log, spans: Mapping[int, tuple[int, int]]) -> Batch:
    """Offsets `[first, end)` of each partition, decoded."""
    records = [
        record(partition, offset, log[partition][offset])
        for partition, (first, end) in spans.items()
        for offset in range(first, end)
    ]
    return Batch(records, decoder, fold, ORIGIN)
