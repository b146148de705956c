"""Dead letters back into the stream: those that the catalogue knows how to read by now."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from kafka import KafkaProducer
from kafka.errors import KafkaError

from streaming.broker.port import Broker
from streaming.dead_letters import DeadLetter, DeadLetters, Place
from streaming.decode import DeadLetterError, Decoder
from streaming.errors import ProduceError

_CHUNK = 1_000


@dataclass
class Resent:
    """What became of dead letters.

    Attributes:
        sent: how many were sent to their topic again.
        before: how many had been before.
        dead: how many cannot be read still, by reason.
    """

    sent: int = 0
    before: int = 0
    dead: Counter[str] = field(default_factory=Counter)


def resend(
    broker: Broker, topic: str, letters: Iterable[DeadLetter], decoder: Decoder, *, dry: bool = False
) -> Resent:
    """Send those of `letters` that `decoder` can read to `topic`, each once, with the key that it had.

    One that was sent is marked, in the dead-letter topic, after the broker has it. A crash in between
    sends it twice; the id of the event then tells that it is the same.

    Args:
        dry: count, and send nothing.

    Raises:
        ProduceError: the broker did not take one.
    """
    result = Resent()
    if dry:
        for letter in letters:
            result.sent += _is_due(letter, decoder, result)
        return result
    producer = KafkaProducer(**broker.options, acks="all", enable_idempotence=True)
    try:
        with DeadLetters(broker, topic) as marks:
            due: list[DeadLetter] = []
            for letter in letters:
                if _is_due(letter, decoder, result):
                    due.append(letter)
                if len(due) == _CHUNK:
                    result.sent += _send(producer, topic, due, marks)
                    due.clear()
            result.sent += _send(producer, topic, due, marks)
    finally:
        producer.close()
    return result


def _is_due(letter: DeadLetter, decoder: Decoder, result: Resent) -> bool:
    if letter.resent:
        result.before += 1
        return False
    try:
        decoder.decode(letter.value)
    except DeadLetterError as error:
        result.dead[error.reason] += 1
        return False
    return True


def _send(producer: KafkaProducer, topic: str, letters: list[DeadLetter], marks: DeadLetters) -> int:
    places: list[Place] = [letter.place for letter in letters]
    try:
        sent = [producer.send(topic, key=letter.key, value=letter.value) for letter in letters]
        producer.flush()
        for delivery in sent:
            delivery.get(timeout=0)
    except KafkaError as error:
        raise ProduceError(f"topic {topic!r} did not take a dead letter again: {error}") from error
    marks.mark_resent(places)
    return len(places)
