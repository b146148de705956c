"""Which server holds what: one Redis holds all, each master of a cluster the keys of its slots.

A master that restarts may lose its own tail and no other's. So a cluster keeps the positions in
several copies, spread evenly over the slots so that every master holds one at least, and a source
stands where its lowest copy stands.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from redis import ConnectionPool
from redis.cluster import RedisCluster
from redis.crc import key_slot
from redis.exceptions import RedisClusterException, ResponseError

_SLOTS = 16_384
_COPIES = 64
_EVERYSEC_S = 3.0
_BY_THE_SYSTEM_S = 60.0


def is_cluster(client: Any) -> bool:
    """Whether `client` speaks to a Redis Cluster."""
    return isinstance(client, RedisCluster)


def masters(client: Any) -> list[Any]:
    """A client of each server that is written to."""
    if not is_cluster(client):
        return [client]
    return [client.get_redis_connection(node) for node in client.get_primaries()]


def by_server(client: Any, keys: Sequence[bytes]) -> list[tuple[ConnectionPool, list[int]]]:
    """For each server that holds any of `keys`: its connections, and which keys by index."""
    if not is_cluster(client):
        return [(client.connection_pool, list(range(len(keys))))]
    held: dict[str, tuple[ConnectionPool, list[int]]] = {}
    for index, key in enumerate(keys):
        node = client.get_node_from_key(key)
        if node.name not in held:
            held[node.name] = (client.get_redis_connection(node).connection_pool, [])
        held[node.name][1].append(index)
    return list(held.values())


def position_keys(client: Any, project: str) -> list[bytes]:
    """The keys of the positions, a hash by source each: one, or a cluster's copies.

    Raises:
        RedisClusterException: a master of the cluster holds none of the copies.
    """
    name = f"kindling:positions:{project}"
    if not is_cluster(client):
        return [name.encode()]
    keys = [f"{name}:{{{tag}}}".encode() for tag in _tags()]
    holders = {client.get_node_from_key(key).name for key in keys}
    if bare := {node.name for node in client.get_primaries()} - holders:
        message = (
            f"masters {', '.join(sorted(bare))} hold no copy of the stream's positions, so that their loss "
            f"would go unseen: give each a run of at least {2 * _SLOTS // _COPIES} slots"
        )
        raise RedisClusterException(message)  # type: ignore[no-untyped-call]
    return keys


def durable_after_s(client: Any) -> float:
    """Seconds after which what was written survives a crash of its server; infinity where it never does."""
    try:
        return max(_append_file_s(server.config_get("append*")) for server in masters(client))
    except ResponseError:  # a managed Redis does not tell
        return _EVERYSEC_S


def _append_file_s(settings: Mapping[str, str]) -> float:
    """From what Redis says of its append-only file."""
    if settings.get("appendonly") != "yes":
        return math.inf
    return {"always": 0.0, "everysec": _EVERYSEC_S}.get(settings["appendfsync"], _BY_THE_SYSTEM_S)


@cache
def _tags() -> list[str]:
    """Hash tags, one in each of as many equal runs of slots as there are copies."""
    width = _SLOTS // _COPIES
    found: dict[int, str] = {}
    number = 0
    while len(found) < _COPIES:
        found.setdefault(key_slot(str(number).encode()) // width, str(number))
        number += 1
    return [found[run] for run in sorted(found)]
