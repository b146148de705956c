"""Where topics end, by source: what a broker has been given so far."""

from collections.abc import Iterable

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from streaming.broker.port import Broker
from streaming.errors import BrokerError
from streaming.position import origin, source


def end_offsets(broker: Broker, topics: Iterable[str]) -> dict[int, int]:
    """By source, the offset that the next record of each partition of `topics` will have.

    A topic that does not exist has no partitions.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    ends: dict[int, int] = {}
    try:
        kafka = KafkaConsumer(**broker.options, enable_auto_commit=False)
        try:
            existing = kafka.topics()
            for topic in set(topics) & existing:
                tag = origin(broker.cluster_id, topic)
                partitions = [
                    TopicPartition(topic, number) for number in kafka.partitions_for_topic(topic) or ()
                ]
                for partition, end in kafka.end_offsets(partitions).items():
                    ends[source(tag, partition.partition)] = end
        finally:
            kafka.close(autocommit=False)
    except (KafkaError, OSError) as error:
        raise BrokerError(f"{broker.kind} broker at {broker.bootstrap}: {error}") from error
    return ends
