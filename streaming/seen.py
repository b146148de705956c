"""What a user's last events were, as hashes of their ids, so that one which is sent again is known."""

from collections.abc import Collection

import mmh3

SEEN_EVENTS = 64
_HASH_BYTES = 8
_SEEN_BYTES = SEEN_EVENTS * _HASH_BYTES


def hash_of(event_id: str) -> bytes:
    """Eight bytes that no other event of the same user has, but for one chance in 2^58."""
    return mmh3.hash_bytes(event_id)[:_HASH_BYTES]


def is_seen(seen: bytes, wanted: bytes) -> bool:
    """Whether `wanted` is one of the latest hashes in `seen`, not parts of two."""
    at = seen.find(wanted, 0, _SEEN_BYTES)
    while at % _HASH_BYTES and at > 0:
        at = seen.find(wanted, at + 1, _SEEN_BYTES)
    return at >= 0


def latest(fresh: Collection[bytes], seen: bytes) -> bytes:
    """Those hashes that are kept of `fresh`, the last event's last, and of those before it."""
    return (b"".join([*fresh][::-1]) + seen)[:_SEEN_BYTES]
