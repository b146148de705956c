"""What a user's last events were, as hashes of their ids, so that one which is sent again is known."""

import mmh3

SEEN_EVENTS = 64
_HASH_BYTES = 8
_SEEN_BYTES = SEEN_EVENTS * _HASH_BYTES


def hash_of(event_id: str) -> bytes:
    """Eight bytes that no other event of the same user has, but for one chance in 2^58."""
    return mmh3.mmh3_x64_128_digest(event_id.encode())[:_HASH_BYTES]


def is_seen(seen: bytes, wanted: bytes) -> bool:
    """Whether `wanted` is one of the latest hashes in `seen`, not parts of two."""
    at = seen.find(wanted, 0, _SEEN_BYTES)
    while at % _HASH_BYTES and at > 0:
        at = seen.find(wanted, at + 1, _SEEN_BYTES)
    return at >= 0


def latest(seen: bytes) -> bytes:
    """Those hashes that are kept, the last event's first."""
    return seen[:_SEEN_BYTES]
