"""Redis, guarded: a script of one key compares a row's position and writes the row, in one step.

Keys, fields and values are those of Feast's Redis store, so plain Feast reads them.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Literal

from feast import Entity, FeatureView, RepoConfig
from feast.infra.online_stores.helpers import _mmh3
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig, _versioned_fv_name
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisClusterException, RedisError, TimeoutError
from redis.retry import Retry

from streaming.stores.pipeline import Command, send
from streaming.stores.port import GUARD_FEATURES, NO_ROW, Columns, Move, Unguarded, Write
from streaming.stores.redis_rows import RedisRows
from streaming.stores.script import MOVE, Script, row_script
from streaming.stores.servers import durable_after_s, is_cluster, masters, position_keys
from streaming.stores.stamp import stamp, stamped_ns

# Replies to a chunk of reads wait in the server's memory until they are taken.
_READ_CHUNK = 1_000
_TIMEOUT_S = 10.0


class GuardedRedisOnlineStoreConfig(RedisOnlineStoreConfig):
    """Feast's settings of Redis, and one of ours.

    Attributes:
        durable_after_s: after how many seconds a write survives a crash of Redis. If not set, Redis is
            asked how it keeps its append-only file.
    """

    type: Literal["streaming.stores.redis.GuardedRedisOnlineStore"] = (
        "streaming.stores.redis.GuardedRedisOnlineStore"
    )
    durable_after_s: float | None = None


class GuardedRedisOnlineStore(RedisOnlineStore):
    """Feast's Redis store that is a `GuardedStore` as well; single, Sentinel or Cluster."""

    failures: tuple[type[Exception], ...] = (RedisError, RedisClusterException)

    def __init__(self) -> None:
        self._scripts: dict[tuple[str, tuple[str, ...]], Script] = {}

    def write_guarded(
        self, config: RepoConfig, view: FeatureView, features: Sequence[str], writes: Sequence[Write]
    ) -> list[int]:
        """See `GuardedStore.write_guarded`."""
        script = self._script(config, view, features)
        project = config.project.encode()
        keys, digest = [write.key + project for write in writes], script.digest

        def command_of(index: int) -> Command:
            _, expected, values, at_ns = writes[index]
            return (b"EVALSHA", digest, b"1", keys[index], *expected, stamp(at_ns), *values)

        replies = self._send(config, keys, command_of, script)
        return [index for index, reply in enumerate(replies) if reply == 0]

    def write_unguarded(
        self, config: RepoConfig, view: FeatureView, features: Sequence[str], writes: Sequence[Write]
    ) -> None:
        """Write each row whatever is stored: the other side of a comparison with `write_guarded`."""
        at, *fields = self._fields(config, view, features)
        project = config.project.encode()
        keys = [write.key + project for write in writes]

        def command_of(index: int) -> Command:
            _, _, values, at_ns = writes[index]
            return (
                b"HSET",
                keys[index],
                at,
                stamp(at_ns),
                *chain.from_iterable(zip(fields, values, strict=True)),
            )

        self._send(config, keys, command_of)

    def read_raw(
        self, config: RepoConfig, columns: Columns, keys: Sequence[bytes]
    ) -> list[Sequence[bytes | None]]:
        """See `GuardedStore.read_raw`."""
        fields, project = self._columns(config, columns), config.project.encode()
        rows: list[Sequence[bytes | None]] = []
        for start in range(0, len(keys), _READ_CHUNK):
            chunk = [key + project for key in keys[start : start + _READ_CHUNK]]
            commands = [(b"HMGET", key, *fields) for key in chunk]
            rows += self._send(config, chunk, commands.__getitem__)
        return rows

    def write_newer(
        self, config: RepoConfig, view: FeatureView, features: Sequence[str], rows: Sequence[Unguarded]
    ) -> None:
        """See `GuardedStore.write_newer`."""
        at, *_ = self._fields(config, view, features)
        keys = [key + config.project.encode() for key, _, _ in rows]
        stored = self._send(config, keys, lambda index: (b"HGET", keys[index], at))
        newer = [
            Write(key, NO_ROW, values, at_ns)
            for (key, values, at_ns), raw in zip(rows, stored, strict=True)
            if raw is None or stamped_ns(raw) < at_ns
        ]
        self.write_unguarded(config, view, features, newer)
        if ttl_s := config.online_store.key_ttl_seconds:
            self._send(config, keys, lambda index: (b"EXPIRE", keys[index], b"%d" % ttl_s))

    def rows(self, config: RepoConfig, columns: Columns) -> RedisRows:
        """See `GuardedStore.rows`."""
        fields = self._columns(config, columns)
        return RedisRows(
            partial(self._get_client, config.online_store),
            config.project,
            fields,
            partial(setattr, self, "_client", None),
        )

    def delete(self, config: RepoConfig, view: FeatureView, key: bytes) -> None:
        """See `GuardedStore.delete`."""
        stored = key + config.project.encode()
        fields = self._fields(config, view, [feature.name for feature in view.features])
        self._send(config, [stored], lambda _: (b"HDEL", stored, *fields))

    def read_positions(self, config: RepoConfig, sources: Collection[int]) -> dict[int, int]:
        """See `GuardedStore.read_positions`."""
        if not sources:
            return {}
        fields = [b"%d" % source for source in sources]
        keys = position_keys(self._get_client(config.online_store), config.project)
        copies = self._send(config, keys, lambda index: (b"HMGET", keys[index], *fields))
        return {
            source: min(map(int, offsets))
            for source, offsets in zip(sources, zip(*copies, strict=True), strict=True)
            if None not in offsets
        }

    def epoch(self, config: RepoConfig) -> bytes:
        """See `GuardedStore.epoch`: the run ids of all servers; one that restarts has another."""
        return b" ".join(
            str(server.info("server")["run_id"]).encode()
            for server in masters(self._get_client(config.online_store))
        )

    def move_positions(
        self, config: RepoConfig, moves: Mapping[int, Move], epoch: bytes = b""
    ) -> dict[int, int]:
        """See `GuardedStore.move_positions`."""
        if not moves:
            return {}
        numbers = (
            b"%d" % number
            for source, move in moves.items()
            for number in (source, move.floor, move.following)
        )
        arguments = [epoch, *numbers]
        keys = position_keys(self._get_client(config.online_store), config.project)
        refused: dict[int, int] = {}
        for reply in self._send(config, keys, lambda index: (b"EVAL", MOVE, b"1", keys[index], *arguments)):
            for source, position in zip(reply[::2], reply[1::2], strict=True):
                refused[source] = min(position, refused.get(source, position))
        return refused

    def durable_after_s(self, config: RepoConfig) -> float:
        """See `GuardedStore.durable_after_s`; infinity where Redis keeps no append-only file."""
        if config.online_store.durable_after_s is not None:
            return float(config.online_store.durable_after_s)
        return durable_after_s(self._get_client(config.online_store))

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """See Feast; positions go with rows that carried them, or nobody would fold those again."""
        if any(feature.name in GUARD_FEATURES for view in tables_to_delete for feature in view.features):
            self._forget_positions(config)
        super().update(
            config, tables_to_delete, tables_to_keep, entities_to_delete, entities_to_keep, partial
        )

    def teardown(
        self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]
    ) -> None:
        """See Feast; the positions go first."""
        self._forget_positions(config)
        super().teardown(config, tables, entities)

    @staticmethod
    def _parse_connection_string(connection_string: str) -> tuple[list[dict[str, str]], dict[str, Any]]:
        """Feast's, with a limit on waiting: a server that falls silent must not silence its client."""
        nodes, settings = RedisOnlineStore._parse_connection_string(connection_string)
        return nodes, {"socket_timeout": _TIMEOUT_S, "socket_connect_timeout": _TIMEOUT_S, **settings}

    def _get_client(self, online_store_config: RedisOnlineStoreConfig) -> Any:
        """Feast's client, except that a server that is gone is an error at once.

        The client's own way is to try for many seconds, in which a stream could not be stopped and a
        request not be answered otherwise; who calls knows better how long it can wait.
        """
        opened = self._client is None
        client: Any = super()._get_client(online_store_config)
        if opened and not is_cluster(client):
            client.set_retry(Retry(NoBackoff(), 1))
        return client

    def _fields(self, config: RepoConfig, view: FeatureView, features: Sequence[str]) -> list[bytes]:
        """The hash's fields: the row's timestamp, then its features."""
        name = _versioned_fv_name(view, config)
        return [f"_ts:{name}".encode(), *(_mmh3(f"{name}:{feature}") for feature in features)]

    def _columns(self, config: RepoConfig, columns: Columns) -> list[bytes]:
        """The hash's fields of several views, which share the hash."""
        return [field for view, features in columns for field in self._fields(config, view, features)[1:]]

    def _script(self, config: RepoConfig, view: FeatureView, features: Sequence[str]) -> Script:
        """The script that writes these features of this view."""
        identity = (_versioned_fv_name(view, config), tuple(features))
        if identity not in self._scripts:
            guards = self._fields(config, view, GUARD_FEATURES)[1:]
            fields = self._fields(config, view, features)
            self._scripts[identity] = row_script(guards, fields, config.online_store.key_ttl_seconds)
        return self._scripts[identity]

    def _send(
        self,
        config: RepoConfig,
        keys: Sequence[bytes],
        command_of: Callable[[int], Command],
        script: Script | None = None,
    ) -> list[Any]:
        client = self._get_client(config.online_store)
        try:
            return send(client, keys, command_of, script)
        except (ConnectionError, TimeoutError):
            if is_cluster(client):
                self._client = None  # the next call asks anew who holds what
            raise

    def _forget_positions(self, config: RepoConfig) -> None:
        keys = position_keys(self._get_client(config.online_store), config.project)
        self._send(config, keys, lambda index: (b"DEL", keys[index]))
