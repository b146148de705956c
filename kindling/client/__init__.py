"""A typed client for recommenders: it needs grpcio and protobuf, and nothing else of Kindling.

with Client("127.0.0.1:50051") as client:
    filled = client.augment("42")
    filled.affinity.values, filled.rung, filled.virtual_items.item_ids
"""

from kindling.client.answers import Block, Filled, VirtualItems
from kindling.client.client import DEFAULT_DEADLINE_MS, Client, Tls
from kindling.client.errors import (
    DeadlineExceeded,
    Denied,
    InvalidRequest,
    KindlingError,
    Overloaded,
    Unavailable,
)
from kindling.client.requests import PastEvent
from kindling.client.retry import Retries

__all__ = [
    "DEFAULT_DEADLINE_MS",
    "Block",
    "Client",
    "DeadlineExceeded",
    "Denied",
    "Filled",
    "InvalidRequest",
    "KindlingError",
    "Overloaded",
    "PastEvent",
    "Retries",
    "Tls",
    "Unavailable",
    "VirtualItems",
]
