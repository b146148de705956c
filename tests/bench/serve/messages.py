"""The requests of each call, as gRPC sends them: a file for a load generator, the message for a check."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from google.protobuf.message import Message

from feature_repo.catalogue import load_catalogue, load_items
from feature_repo.workspace import Workspace
from kindling.v1 import augment_pb2 as pb
from models.bundle import Bundle
from models.schema import SparseProfile, Tensors, sparse_profile
from tests.bench.serve.shop import histories, user_name

BATCH = 64
_SERVICE = "/kindling.v1.AugmentService"
SINGLE, PACKED = f"{_SERVICE}/Augment", f"{_SERVICE}/AugmentBatch"

# Whoever answers, it is to be the learned model: the prior is cheaper.
_RUNGS = [pb.RUNG_GENERATOR]


def write(path: Path, messages: Iterable[Message]) -> Path:
    """Write `messages` to `path`, each after a zero byte and its length in four; returns the path."""
    with path.open("wb") as file:
        for message in messages:
            data = message.SerializeToString()
            file.write(b"\0" + len(data).to_bytes(4, "big") + data)
    return path


def by_id(numbers: Iterable[int]) -> list[pb.AugmentRequest]:
    """A request for each user."""
    return [pb.AugmentRequest(user_id=user_name(number), allowed_rungs=_RUNGS) for number in numbers]


def batches_by_id(numbers: Sequence[int]) -> list[pb.AugmentBatchRequest]:
    """A request for every `BATCH` users."""
    return [
        pb.AugmentBatchRequest(
            users=pb.UserIds(user_ids=map(user_name, numbers[start : start + BATCH])), allowed_rungs=_RUNGS
        )
        for start in range(0, len(numbers) - BATCH + 1, BATCH)
    ]


class Profiles:
    """Profiles sent along with the request, in the three forms that servers take."""

    def __init__(self, shop: Workspace, bundle: Bundle) -> None:
        self._bundle = bundle
        self._catalogue = load_catalogue(shop.data)
        self._items = load_items(shop.data, self._catalogue)
        self._histories = list(histories(self._catalogue, self._items))

    def inline(self) -> pb.AugmentRequest:
        """One profile of five events."""
        declared, events = next(one for one in self._histories if len(one.events) == 5)
        return pb.AugmentRequest(
            profile=pb.Profile(
                attributes=[pb.Attribute(name=name, value=str(value)) for name, value in declared.items()],
                events=[
                    pb.Event(
                        item_id=past.item_id,
                        type=past.type,
                        value=past.value,
                        event_time_ms=past.time_ms,
                    )
                    for past in events
                ],
            ),
            allowed_rungs=_RUNGS,
        )

    def packed(self) -> pb.AugmentBatchRequest:
        """`BATCH` profiles as tensors."""
        tensors = self.tensors(BATCH)
        return pb.AugmentBatchRequest(
            profiles=pb.PackedProfiles(
                schema_fingerprint=self._bundle.schema.fingerprint,
                rows=BATCH,
                **{name: tensor.tobytes() for name, tensor in tensors.items()},
            ),
            allowed_rungs=_RUNGS,
        )

    def tensors(self, rows: int) -> Tensors:
        """What the model reads of `rows` profiles."""
        profiles = [self._sparse(row) for row in range(rows)]
        return self._bundle.schema.encode(profiles, self._bundle.item_index)

    def _sparse(self, row: int) -> SparseProfile:
        declared, events = self._histories[row]
        return sparse_profile(events, declared, self._catalogue, self._items)
