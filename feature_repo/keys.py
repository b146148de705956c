"""A user's key in Feast's online stores, serialized without building a message."""

from struct import pack

from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value


def _prefix() -> bytes:
    """What comes before a user id's length and bytes in Feast's serialized entity key, of version 3."""
    example = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val="?")])
    key: bytes = serialize_entity_key(example, entity_key_serialization_version=3)
    return key.removesuffix(pack("<I", 1) + b"?")


_PREFIX = _prefix()


def user_key(user_id: str) -> bytes:
    """Feast's serialized key of a user."""
    name = user_id.encode()
    return _PREFIX + pack("<I", len(name)) + name
